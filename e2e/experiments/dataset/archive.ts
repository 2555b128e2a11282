import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import {
  collectionCitation,
  collectionDatasheet,
  DatasetError,
  exportRuns,
  readManifest,
  runFiles,
} from '@interlock/lab/dataset';

/** A written archive. */
export interface Archive {
  readonly path: string;
  readonly sha256: string;
}

/** Checked by `sha256sum --check SHA256SUMS` in the unpacked folder. */
const SUMS = 'SHA256SUMS';

/** Exports of an archive: the folder of each, and whether it is without answers. */
const exports = [
  ['exports/labelled', false],
  ['exports/blind', true],
] as const;

/**
 * Adds to a recorded collection what a citable archive has: exports with and without answers, a datasheet, a citation and the SHA-256
 * of each file. Then writes `<folder>.tar` and `<folder>.tar.sha256`. The same runs are the same bytes.
 * @param folder a sound collection of runs
 * @throws DatasetError for anything else
 */
export const archiveOf = async (folder: string): Promise<Archive> => {
  const manifest = readManifest(folder);
  if (manifest.kind !== 'collection') throw new DatasetError(`${folder} holds one run: an archive is made of several`);
  for (const [path, isBlind] of exports)
    exportRuns(folder, join(folder, path), { format: 'parquet', view: 'links', isBlind });
  writeFileSync(join(folder, runFiles.datasheet), collectionDatasheet(manifest));
  writeFileSync(join(folder, runFiles.citation), collectionCitation(manifest));
  writeFileSync(join(folder, SUMS), await sumsOf(folder));
  const path = `${folder}.tar`;
  await promisify(execFile)('tar', tarArguments(folder, path));
  const sha256 = await sha256Of(path);
  writeFileSync(`${path}.sha256`, `${sha256}  ${basename(path)}\n`);
  return { path, sha256 };
};

/** Order, times, owners and modes are fixed: only names and contents decide the bytes. */
const tarArguments = (folder: string, path: string): readonly string[] => [
  ...['--create', '--file', path, '--format=ustar', '--sort=name', '--mtime=@0'],
  ...['--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'],
  ...['--directory', dirname(folder), basename(folder)],
];

const sumsOf = async (folder: string): Promise<string> => {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
  const lines: string[] = [];
  for (const file of files) lines.push(`${await sha256Of(join(folder, file))}  ${file}\n`);
  return lines.join('');
};

/** In pieces: an archive may be larger than a buffer. */
const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
};
