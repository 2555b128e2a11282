import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '../local/command.ts';
import { dataRoot, LauncherError, openDataFolder, repository } from '../local/data-folder.ts';
import { type Builder, buildImage, exportBill, findBuilder, importDebianBase } from './builder.ts';
import { imageLabels } from './labels.ts';
import { images } from './services.mjs';

const help = `npm run images [-- <image>…] [--base <reference>] [--debian-base] [--prefix <text>] [--tag <tag>] [--platform <platform>] [--source <url>] [--ca <file>] [--no-cache] [--twice]

Builds ${Object.keys(images).join(', ')} with buildah, podman or docker; all of them but all-in-one unless some are named.

  --base         what builds them; default as in deploy/Containerfile. Pin it: --base docker.io/library/node@sha256:…
  --debian-base  makes a base from Debian packages first (mmdebstrap), for where no image registry can be reached
  --prefix       before the name of each image; default localhost/interlock/
  --tag          default the version of this project
  --platform     linux/amd64 or linux/arm64; default that of this machine. Another one needs qemu-user-static
  --source       URL of the sources, for a label; default the remote origin of git
  --ca           certificates to trust while packages are fetched, where a registry has an authority of its own
  --no-cache     builds every layer without the cache
  --twice        builds each image twice without the cache, and fails if the two differ

The bill of materials of each image (CycloneDX) goes to .interlock/images/<image>.cdx.json (INTERLOCK_DATA names another folder).
The last line is JSON: for each image its size in bytes, its digest, its bill of materials, and how long the build took.`;

/** Platforms the recipe is for. */
const platforms: readonly string[] = ['linux/amd64', 'linux/arm64'];

/** The largest allowed size of an image, in bytes. The image with Postgres and NATS contains a Debian. */
const sizeBytesMax = (image: string): number => (image === 'all-in-one' ? 800 : 200) * 1024 ** 2;

/** `npm run images`: builds every image and prints its size. Exits with 1 if one is too large, or not reproducible. */
runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      base: { type: 'string' },
      'debian-base': { type: 'boolean', default: false },
      prefix: { type: 'string', default: 'localhost/interlock/' },
      tag: { type: 'string', default: versionOfProject() },
      platform: { type: 'string' },
      source: { type: 'string' },
      ca: { type: 'string' },
      'no-cache': { type: 'boolean', default: false },
      twice: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const unknown = positionals.filter((name) => !Object.hasOwn(images, name));
  if (unknown.length > 0) throw new LauncherError(`There is no image ${unknown.join(', ')}.\n\n${help}`);
  const names = positionals.length > 0 ? positionals : Object.keys(images).filter((name) => name !== 'all-in-one');

  const { platform, source } = values;
  checkPlatform(platform, values['debian-base']);
  const bills = openDataFolder(dataRoot(process.env)).folder('images');

  const builder: Builder = await findBuilder(process.env);
  const base = values['debian-base'] ? await importDebianBase(builder, console.log, !values['no-cache']) : values.base;
  const isCached = !values['no-cache'] && !values.twice;
  const built = [];
  const unlike: string[] = [];
  for (const name of names) {
    const reference = `${values.prefix}${name}:${values.tag}`;
    const { description = '' } = images[name] ?? {};
    const labels = await imageLabels({ version: versionOfProject(), description, source }, repository, process.env);
    const request = { image: name, reference, base, certificates: values.ca, isCached, labels, platform };
    const image = await buildImage(builder, request);
    const bill = await exportBill(builder, request, bills);
    console.log(
      `${reference}  ${(image.sizeBytes / 1024 ** 2).toFixed(0)} MiB  ${(image.tookMs / 1000).toFixed(1)} s  ${image.digest}`,
    );
    built.push({ image: reference, name, ...image, bill });
    if (!values.twice) continue;
    const { digest } = await buildImage(builder, request);
    if (digest !== image.digest) unlike.push(`${reference} was ${image.digest} and then ${digest}`);
  }
  const tooLarge = built.filter(({ name, sizeBytes }) => sizeBytes > sizeBytesMax(name));
  for (const { image, name } of tooLarge)
    console.error(`${image} is larger than ${sizeBytesMax(name) / 1024 ** 2} MiB`);
  for (const one of unlike) console.error(`${one}: the same sources made two images`);
  return { exitCode: tooLarge.length + unlike.length === 0 ? 0 : 1, lastLine: JSON.stringify({ images: built }) };
});

/** @throws LauncherError for a platform that cannot be built */
function checkPlatform(platform: string | undefined, isDebianBase: boolean): void {
  if (platform === undefined) return;
  if (!platforms.includes(platform))
    throw new LauncherError(`--platform must be ${platforms.join(' or ')} (got "${platform}").`);
  if (isDebianBase)
    throw new LauncherError('--debian-base makes a base for this machine only: use --base with --platform.');
}

function versionOfProject(): string {
  return JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version;
}
