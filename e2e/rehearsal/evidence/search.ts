import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What a search through files found. */
export interface Search {
  readonly files: number;
  readonly bytes: number;
  /** Each find: file (relative to the folder) and the label of what was found. */
  readonly finds: readonly { readonly file: string; readonly label: string }[];
}

/** Beyond this a file is a sparse disk, of which the caller looks at the written parts itself. */
const fileBytesMax = 64 * 1024 * 1024;

/** Looks for byte strings in every file below a folder, in binary and, for keys, as base64 and hexadecimal text. */
export function searchFiles(folder: string, needles: Readonly<Record<string, Uint8Array>>): Search {
  const finds: { file: string; label: string }[] = [];
  let files = 0;
  let bytes = 0;
  const wanted = Object.entries(needles).flatMap(([label, needle]) =>
    spellings(Buffer.from(needle)).map((spelling) => ({ label, spelling })),
  );
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const found = statSync(join(folder, file), { throwIfNoEntry: false });
    // A database may remove a file while we look; lock files of disks are held and hold nothing.
    if (!found?.isFile() || found.size > fileBytesMax || basename(file).endsWith('.lock')) continue;
    const content = readFileSync(join(folder, file));
    files += 1;
    bytes += content.length;
    for (const { label, spelling } of wanted) if (content.includes(spelling)) finds.push({ file, label });
  }
  return { files, bytes, finds };
}

/** Base64 is looked for without its ends, which depend on what surrounds the key. */
const spellings = (needle: Buffer): Buffer[] => [
  needle,
  Buffer.from(needle.toString('hex')),
  Buffer.from(needle.toString('base64').replace(/.?=*$/, '')),
  Buffer.from(needle.toString('base64url').slice(0, -1)),
];
