import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { runProgram } from '../../deploy/images/builder.ts';
import { openHelm } from './helm.ts';
import { frozenIn } from './immutable-fields.ts';
import { type LastVersion, lastVersionFile } from './last-version.ts';
import { objectsIn, overlays } from './render.ts';

const help = `node e2e/kubernetes/write-last-version.ts <commit> [<commit of the chart>]

Writes e2e/kubernetes/last-version.json: the immutable fields of every object of the overlays and of the chart at a commit, and the Secrets
to which the overlays refer. Run it for each release, with the commit of the release. upgrade.test.ts compares with it.`;

/** Extracts `deploy` of a commit. @returns its folder */
const extract = async (commit: string, folder: string): Promise<string> => {
  const archive = join(folder, 'deploy.tar');
  await runProgram('git', ['-C', repository, 'archive', '--output', archive, commit, 'deploy'], process.env);
  await runProgram('tar', ['--extract', '--file', archive, '--directory', folder], process.env);
  return join(folder, 'deploy');
};

runCommand(async (scope) => {
  const [commit, chartCommit = commit] = process.argv.slice(2);
  if (commit === undefined || chartCommit === undefined) throw new LauncherError(help);
  const temporary = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'interlock-last-version-'));
    scope.defer('folder', async () => rmSync(folder, { recursive: true, force: true }));
    return folder;
  };
  const deploy = await extract(commit, temporary());
  const rendered = await Promise.all(
    overlays.map(async (overlay) => {
      const folder = join(deploy, 'kubernetes/overlays', overlay);
      return [overlay, await runProgram('kubectl', ['kustomize', folder], process.env)] as const;
    }),
  );
  const chartFolder = join(await extract(chartCommit, temporary()), 'helm/interlock');
  const chart = await openHelm(temporary(), process.env, chartFolder).template();
  const last: LastVersion = {
    commit: await commitOf(commit),
    overlays: Object.fromEntries(rendered.map(([overlay, text]) => [overlay, frozenIn(objectsIn(text))])),
    secrets: Object.fromEntries(rendered.map(([overlay, text]) => [overlay, secretsIn(text)])),
    chartCommit: await commitOf(chartCommit),
    chart: frozenIn(chart),
  };
  writeFileSync(lastVersionFile, JSON.stringify(last));
  const biome = join(repository, 'node_modules/.bin/biome');
  await runProgram(biome, ['format', '--write', lastVersionFile], process.env);
  return { exitCode: 0, lastLine: lastVersionFile };
});

/** The Secrets to which objects refer by name, in pods and elsewhere. */
const secretsIn = (text: string): readonly string[] => {
  const pattern = /(?:secretName|secretKeyRef:\s+key: \S+\s+name): (interlock-[a-z-]+)/g;
  return [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))].sort();
};

async function commitOf(name: string): Promise<string> {
  return (await runProgram('git', ['-C', repository, 'rev-parse', name], process.env)).trim();
}
