import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { LauncherError, repository } from '../local/data-folder.ts';
import { images } from './services.mjs';

/** A program that builds images, as it is to be called. */
export interface Builder {
  readonly name: 'buildah' | 'podman' | 'docker';
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The image to build. */
export interface ImageOptions {
  /** A name of `services.mjs`. */
  readonly image: string;
  /** Name of the image, with its tag. */
  readonly reference: string;
  readonly base: string | undefined;
  /** File with certificates to trust while building. */
  readonly certificates: string | undefined;
  readonly isCached: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** `linux/amd64` or `linux/arm64`; by default that of this machine. */
  readonly platform: string | undefined;
}

/** The result of a build. */
export interface BuiltImage {
  /** Uncompressed, as `podman images` counts. */
  readonly sizeBytes: number;
  /** Of the image's configuration: the same for the same content. */
  readonly digest: string;
  readonly tookMs: number;
}

/** Name of the base that is built from Debian packages. */
export const debianBase = 'localhost/interlock-base:trixie';

/** The first of buildah, podman and docker on the PATH. @throws LauncherError that says how to get one */
export const findBuilder = async (env: Builder['env']): Promise<Builder> => {
  for (const name of ['buildah', 'podman', 'docker'] as const) if (isOnPath(name, env)) return { name, env };
  throw new LauncherError(
    'No program that builds images is on the PATH: install buildah (apt-get install buildah), podman or docker.',
  );
};

/** Whether a program is on the PATH. */
export const isOnPath = (program: string, { PATH = '' }: Builder['env']): boolean =>
  PATH.split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, program)));

/** Builds one image. @throws LauncherError with the end of the builder's output if it fails */
export const buildImage = async (builder: Builder, request: ImageOptions): Promise<BuiltImage> => {
  const since = performance.now();
  const labels = Object.entries(request.labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]);
  await run(builder, [...buildArgs(builder, request), ...labels, '--tag', request.reference, repository]);
  const tookMs = Math.round(performance.now() - since);
  return { ...(await inspect(builder, request.reference)), tookMs };
};

/**
 * Writes the bill of materials of an image that was just built to `<folder>/<image>.cdx.json`; the layers are in the cache.
 * @returns path of the file
 * @throws LauncherError with the end of the builder's output if it fails
 */
export const exportBill = async (builder: Builder, request: ImageOptions, folder: string): Promise<string> => {
  const scratch = mkdtempSync(join(tmpdir(), 'interlock-bill-'));
  try {
    const args = buildArgs(builder, { ...request, isCached: true });
    await run(builder, [...args, '--target', 'bill', '--output', `type=local,dest=${scratch}`, repository]);
    const file = join(folder, `${request.image}.cdx.json`);
    copyFileSync(join(scratch, 'sbom.cdx.json'), file);
    return file;
  } finally {
    rmSync(scratch, { recursive: true });
  }
};

/** The arguments of every build of an image. */
const buildArgs = (builder: Builder, request: ImageOptions): readonly string[] => {
  const { certificates, base, platform } = request;
  const target = images[request.image]?.target;
  const trusting = ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'npm_config_cafile'];
  return [
    'build',
    ...buildArg('SERVICE', request.image),
    ...buildArg('REVISION', request.labels['org.opencontainers.image.revision'] ?? 'unknown'),
    ...(base === undefined ? [] : buildArg('BASE', base)),
    ...(certificates === undefined ? [] : trusting.flatMap((name) => buildArg(name, CERTIFICATES_INSIDE))),
    // Docker cannot mount files during a build; it needs a base that trusts the registry.
    ...(certificates === undefined || builder.name === 'docker'
      ? []
      : ['--volume', `${certificates}:${CERTIFICATES_INSIDE}:ro`]),
    // Times of files and of the image are the epoch; otherwise no two builds would be the same.
    ...(builder.name === 'docker' ? buildArg('SOURCE_DATE_EPOCH', '0') : ['--timestamp', '0', '--layers']),
    ...(request.isCached ? [] : ['--no-cache']),
    ...(platform === undefined ? [] : ['--platform', platform]),
    ...(target === undefined ? [] : ['--target', target]),
    // The OCI format has no health check.
    ...(target === undefined || builder.name === 'docker' ? [] : ['--format', 'docker']),
    '--file',
    join(repository, 'deploy/Containerfile'),
  ];
};

/** In the build container. */
const CERTIFICATES_INSIDE = '/etc/ssl/certs/ca-certificates.crt';

const buildArg = (name: string, value: string): readonly string[] => ['--build-arg', `${name}=${value}`];

const inspect = async (builder: Builder, reference: string): Promise<Omit<BuiltImage, 'tookMs'>> => {
  if (builder.name === 'docker') {
    const [image] = JSON.parse(await run(builder, ['image', 'inspect', reference]));
    return { sizeBytes: image.Size, digest: image.Id };
  }
  const format = ['images', '--json', '--no-trunc', reference];
  const output =
    builder.name === 'buildah'
      ? await run(builder, format)
      : await run(builder, ['images', '--format', 'json', '--no-trunc', reference]);
  const [image] = JSON.parse(output);
  const digest = String(image.id ?? image.Id);
  return { sizeBytes: bytesOf(image.size ?? image.Size), digest: digest.replace(/^(?!sha256:)/, 'sha256:') };
};

/** buildah writes `149 MB`, podman a number. */
const bytesOf = (size: unknown): number => {
  if (typeof size === 'number') return size;
  const [, number = 'NaN', unit = 'B'] = /^([\d.]+)\s*([kMG]?B)$/.exec(String(size)) ?? [];
  const found = Number(number) * { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }[unit as 'B' | 'kB' | 'MB' | 'GB'];
  if (Number.isNaN(found)) throw new LauncherError(`buildah gave a size that means nothing: ${String(size)}`);
  return found;
};

/**
 * Builds the base from Debian packages and imports it. An existing one is used, unless `isCached` is false.
 * @throws LauncherError if mmdebstrap is missing, or the builder cannot import
 */
export const importDebianBase = async (
  builder: Builder,
  say: (line: string) => void,
  isCached: boolean,
): Promise<string> => {
  if (builder.name === 'docker') throw new LauncherError('--debian-base needs podman or buildah.');
  if (!isOnPath('podman', builder.env)) throw new LauncherError('--debian-base imports with podman: install podman.');
  if (!isOnPath('mmdebstrap', builder.env)) {
    throw new LauncherError('--debian-base needs mmdebstrap: apt-get install mmdebstrap.');
  }
  const listed = await runProgram('podman', ['images', '--quiet', debianBase], builder.env);
  if (isCached && listed.trim() !== '') return debianBase;
  const folder = mkdtempSync(join(tmpdir(), 'interlock-base-'));
  try {
    const archive = join(folder, 'base.tar');
    say('Making a base from Debian packages (1 to 3 minutes) …');
    const excluded = ['man', 'doc', 'locale'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
    const args = ['--variant=minbase', '--include=ca-certificates,nodejs,npm', ...excluded, 'trixie', archive];
    await runProgram('mmdebstrap', args, { ...builder.env, SOURCE_DATE_EPOCH: '0' });
    await runProgram('podman', ['import', '--quiet', archive, debianBase], builder.env);
    return debianBase;
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const run = (builder: Builder, args: readonly string[]): Promise<string> => runProgram(builder.name, args, builder.env);

/** How much of a program's output an error repeats, in characters. */
const WORDS_MAX = 3_000;

/** Runs a program to its end. @returns its output @throws LauncherError with its output if it fails */
export const runProgram = (
  program: string,
  args: readonly string[],
  env: Builder['env'],
  input?: string,
): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    const words: Buffer[] = [];
    child.stdout?.on('data', (piece: Buffer) => output.push(piece));
    child.stderr?.on('data', (piece: Buffer) => words.push(piece));
    child.once('error', (error) => reject(new LauncherError(`${program} cannot be started: ${error.message}`)));
    child.once('close', (code) => {
      const printed = Buffer.concat(output).toString();
      if (code === 0) return resolve(printed);
      const said = `${printed}${Buffer.concat(words).toString()}`.slice(-WORDS_MAX);
      reject(new LauncherError(`${program} ${args[0] ?? ''} failed (${code}):\n${said}`));
    });
    if (input !== undefined) child.stdin?.end(input);
  });
