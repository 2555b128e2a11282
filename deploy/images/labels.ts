import { LauncherError } from '../local/data-folder.ts';
import { runProgram } from './builder.ts';

/** The labels of an image in addition to `title` and `licenses`, which the Containerfile sets. */
export interface LabelOptions {
  /** Version of the project. */
  readonly version: string;
  /** One sentence. */
  readonly description: string;
  /** Address of the sources; by default the remote `origin` of git. */
  readonly source: string | undefined;
}

/** Name → value of the labels. */
export type ImageLabels = Readonly<Record<string, string>>;

/**
 * Labels of an image by the OCI image specification. Without git there is no revision, without a remote no source.
 * @param folder of the sources
 * @throws LauncherError for a source that is no URL
 */
export const imageLabels = async (
  { version, description, source }: LabelOptions,
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<ImageLabels> => {
  const git = async (...args: readonly string[]): Promise<string | undefined> =>
    (await runProgram('git', ['-C', folder, ...args], env).catch(() => undefined))?.trim();
  const commit = await git('rev-parse', 'HEAD');
  const changes = await git('status', '--porcelain');
  const url = source ?? webUrlOf(await git('remote', 'get-url', 'origin'));
  if (source !== undefined && !/^https?:\/\//.test(source))
    throw new LauncherError(`--source must be an http or https URL (got "${source}").`);
  return {
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.description': description,
    ...(commit === undefined
      ? {}
      : { 'org.opencontainers.image.revision': `${commit}${changes === '' ? '' : '-dirty'}` }),
    ...(url === undefined ? {} : { 'org.opencontainers.image.source': url }),
  };
};

/** The address of a remote for a browser, without credentials; undefined for a path. */
const webUrlOf = (remote: string | undefined): string | undefined => {
  const [, host, path] =
    /^(?:https?:\/\/(?:[^@/]*@)?|(?:ssh:\/\/)?git@)([^:/]+)[:/](.+?)(?:\.git)?$/.exec(remote ?? '') ?? [];
  return host === undefined ? undefined : `https://${host}/${path}`;
};
