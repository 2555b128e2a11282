import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';

/** A tar archive is written in blocks of this size, in bytes. */
const BLOCK_BYTES = 512;

/** Longest file name and folder of a ustar header, in bytes. */
const [NAME_BYTES_MAX, PREFIX_BYTES_MAX] = [100, 155];

/** 1985-10-26T08:15:00Z, the time that npm gives every file of a package, in seconds. */
const FILE_TIME_S = 499_162_500;

/** Archives the files of a folder as `.tgz`: `tarFolder`, compressed. */
export const packFolder = (folder: string, prefix: string): Buffer => gzipSync(tarFolder(folder, prefix), { level: 9 });

/**
 * Archives the files of a folder as `.tar`. The same files make the same bytes: files are sorted, belong to root, and have one time.
 * A file that its owner may execute has mode 755, every other 644. POSIX.1-1988 (ustar).
 * @param folder contains files and folders only
 * @param prefix folder of the archive that contains them; npm packages have `package`, a chart its name, an OCI archive none (empty)
 * @throws Error for a link, and for a path that is too long for the format
 */
export const tarFolder = (folder: string, prefix: string): Buffer => {
  const files = readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile()) throw new Error(`${path} is neither a file nor a folder, and cannot be archived`);
      return { path, name: join(prefix, relative(folder, path)) };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const parts = files.flatMap(({ path, name }) => {
    const content = readFileSync(path);
    const padding = Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES);
    return [header(name, content.length, (statSync(path).mode & 0o100) === 0 ? 0o644 : 0o755), content, padding];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
};

const header = (path: string, sizeBytes: number, mode: number): Buffer => {
  const block = Buffer.alloc(BLOCK_BYTES);
  const { name, prefix } = splitPath(path);
  const octal = (value: number, offset: number, digits: number): number =>
    block.write(value.toString(8).padStart(digits, '0'), offset);
  block.write(name, 0);
  octal(mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(sizeBytes, 124, 11);
  octal(FILE_TIME_S, 136, 11);
  block.write('0', 156);
  block.write('ustar\0' + '00', 257);
  block.write(prefix, 345);
  // The sum is that of the header with spaces in place of the sum.
  block.fill(' ', 148, 156);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block.write('\0 ', 154);
  return block;
};

/** A long path is split at a slash: the header has a field for the folders in front. */
const splitPath = (path: string): { readonly name: string; readonly prefix: string } => {
  if (Buffer.byteLength(path) <= NAME_BYTES_MAX) return { name: path, prefix: '' };
  const slash = path.indexOf('/', path.length - NAME_BYTES_MAX - 1);
  const [prefix, name] = [path.slice(0, slash), path.slice(slash + 1)];
  if (slash === -1 || Buffer.byteLength(name) > NAME_BYTES_MAX || Buffer.byteLength(prefix) > PREFIX_BYTES_MAX)
    throw new Error(`the path ${path} is too long for a tar archive`);
  return { name, prefix };
};
