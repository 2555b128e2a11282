import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { isOnPath, runProgram } from '../../deploy/images/builder.ts';
import { imageLabels } from '../../deploy/images/labels.ts';
import { packTesting } from '../../deploy/testing/pack.ts';
import { packOtelJetstream } from '../../libs/otel-jetstream/pack.ts';
import { packFolder } from '../../libs/pack/tar.ts';
import { pack as packCommandLine } from '../../services/cli/pack.ts';
import { buildSite, filesOf } from '../docs/site.ts';
import { archiveImages } from './archive-images.ts';
import { billOfMaterials, bundledIn } from './bill.ts';
import { provenance, type ReleasedFile } from './provenance.ts';
import { projectVersion, statedVersions } from './version.ts';

const help = `npm run release [-- [--out <folder>] [--no-images] [--source <url>] [--uncommitted] [-- <option of npm run images>…]]

Makes the files of a release in an empty folder: npm packages, the chart, JSON Schemas, images as OCI archives, a bill of materials
(CycloneDX), the site of the documentation, a provenance statement (in-toto, not signed) and SHA256SUMS. The same commit makes the same bytes.

  --out          default dist; its content is deleted
  --no-images    leaves the images out. Without buildah they are left out as well
  --source       URL of the repository for packages and provenance; default the remote origin of git
  --uncommitted  also if files differ from the commit; the provenance then names no commit`;

/** The schemas that editors complete files with, from the root of the repository. */
const schemas = ['libs/lab/experiment.schema.json', 'libs/lab/estate.schema.json'];

/** Names that belong to a release; anything else in the folder means that it is not ours to delete. */
const isReleaseFile = (name: string): boolean =>
  /^(interlock|otel-jetstream)-.*\.(tgz|tar|json)$|\.schema\.json$|^SHA256SUMS$/.test(name);

/** `npm run release`: makes the files of a release. The last line is JSON: version, commit, and what was left out. */
runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    allowNegative: true,
    options: {
      out: { type: 'string', default: 'dist' },
      images: { type: 'boolean', default: true },
      source: { type: 'string' },
      uncommitted: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const version = oneVersion();
  const { commit, source, labels } = await commitOf(version, values.source, values.uncommitted);
  const folder = resolve(repository, values.out);
  emptyFolder(folder);
  const packed = await packCommandLine(folder, source);
  packOtelJetstream(folder, source);
  packTesting(folder, source);
  const chart = join(folder, `interlock-chart-${version}.tgz`);
  writeFileSync(chart, packFolder(join(repository, 'deploy/helm/interlock'), 'interlock'));
  await packSite(join(folder, `interlock-docs-${version}.tgz`), filesOf(labels));
  for (const schema of schemas) copyFileSync(join(repository, schema), join(folder, basename(schema)));
  const skipped = await imagesInto(folder, version, values.images, positionals, source);
  const licences = await runProgram('tar', ['-xzOf', packed, 'package/THIRD-PARTY.txt'], process.env);
  writeFileSync(join(folder, `interlock-${version}.cdx.json`), await billOfMaterials(bundledIn(licences)));
  const facts = {
    ...{ version, commit, source, node: process.version, platform: `${process.platform}-${process.arch}` },
    arguments: [...(values.images && skipped === undefined ? positionals : ['--no-images'])],
    lockfileSha256: sha256(join(repository, 'pnpm-lock.yaml')),
  };
  const statement = provenance(sumsOf(folder), facts);
  writeFileSync(join(folder, `interlock-${version}.intoto.json`), `${JSON.stringify(statement, undefined, 1)}\n`);
  const sums = sumsOf(folder);
  writeFileSync(join(folder, 'SHA256SUMS'), sums.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join(''));
  for (const { name } of sums)
    console.log(`${(statSync(join(folder, name)).size / 1024 ** 2).toFixed(2).padStart(8)} MiB  ${name}`);
  return {
    exitCode: 0,
    lastLine: JSON.stringify({ folder, version, commit: commit ?? null, skipped: skipped ?? null }),
  };
});

async function packSite(file: string, source: string | undefined): Promise<void> {
  const site = mkdtempSync(join(tmpdir(), 'interlock-site-'));
  try {
    await buildSite(site, { base: '/', source });
    writeFileSync(file, packFolder(site, 'interlock-docs'));
  } finally {
    rmSync(site, { recursive: true, force: true });
  }
}

/** @returns the version that every file states @throws LauncherError that lists the files with another one */
function oneVersion(): string {
  const version = projectVersion();
  const others = statedVersions().filter((stated) => stated.version !== version);
  if (others.length === 0) return version;
  const lines = others.map((stated) => `  ${stated.file} states ${stated.version}`);
  throw new LauncherError(
    `Every file must state version ${version} (package.json). Run node e2e/release/version.ts ${version}.\n${lines.join('\n')}`,
  );
}

/** @throws LauncherError if files differ from the commit and that is not allowed */
async function commitOf(version: string, given: string | undefined, isUncommitted: boolean) {
  const labels = await imageLabels({ version, description: '', source: given }, repository, process.env);
  const revision = labels['org.opencontainers.image.revision'];
  const isClean = revision !== undefined && !revision.endsWith('-dirty');
  if (!isClean && !isUncommitted)
    throw new LauncherError(
      'A release is made of a commit, and files differ from it: commit them, or use --uncommitted.',
    );
  return { commit: isClean ? revision : undefined, source: labels['org.opencontainers.image.source'], labels };
}

/** @returns why images were left out; undefined if they are there */
async function imagesInto(
  folder: string,
  version: string,
  areWanted: boolean,
  args: readonly string[],
  source: string | undefined,
): Promise<string | undefined> {
  const reason = areWanted ? 'buildah is not installed' : '--no-images';
  if (areWanted && isOnPath('buildah', process.env)) {
    await archiveImages(folder, version, [...args, ...(source === undefined ? [] : ['--source', source])]);
    return undefined;
  }
  console.log(`Skipped: images. ${reason}`);
  return `images: ${reason}`;
}

/** @throws LauncherError if it contains files that are not those of a release */
function emptyFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const names = readdirSync(folder);
  const foreign = names.find((name) => !isReleaseFile(name));
  if (foreign !== undefined) throw new LauncherError(`${folder} contains ${foreign}, which is no file of a release.`);
  for (const name of names) rmSync(join(folder, name));
}

function sumsOf(folder: string): readonly ReleasedFile[] {
  return readdirSync(folder)
    .sort()
    .map((name) => ({ name, sha256: sha256(join(folder, name)) }));
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
