import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** The result of a search through files. */
export interface Search {
  readonly files: number;
  readonly bytes: number;
  /** Each find: file (relative to the folder) and the label of the found bytes. */
  readonly finds: readonly { readonly file: string; readonly label: string }[];
}

/** A larger file is a sparse disk. The caller searches its written parts itself. */
const fileBytesMax = 64 * 1024 * 1024;

/**
 * Searches every file below a folder for byte strings: raw, and as base64 and hexadecimal text.
 * @param needles by label; 8 bytes or more each
 */
export function searchFiles(folder: string, needles: Readonly<Record<string, Uint8Array>>): Search {
  const contains = finder(needles);
  const finds: { file: string; label: string }[] = [];
  let files = 0;
  let bytes = 0;
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const content = contentOf(join(folder, file));
    if (content === undefined) continue;
    files += 1;
    bytes += content.length;
    for (const label of contains(content)) finds.push({ file, label });
  }
  return { files, bytes, finds };
}

/** Nothing for folders, sockets, disks, and files that the servers remove during the search. */
function contentOf(path: string): Buffer | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile() || found.size > fileBytesMax) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Searches for all of them in one pass: compares only at places where the first two bytes match. A separate search for each
 * spelling would read the same 100 MB forty times.
 */
export function finder(needles: Readonly<Record<string, Uint8Array>>): (content: Buffer) => ReadonlySet<string> {
  const wanted = Object.entries(needles).flatMap(([label, needle]) =>
    spellings(Buffer.from(needle)).map((spelling) => ({ label, spelling })),
  );
  const beginnings = new Map<number, typeof wanted>();
  const isBeginning = new Uint8Array(1 << 16);
  for (const each of wanted) {
    const beginning = each.spelling.readUInt16BE(0);
    isBeginning[beginning] = 1;
    beginnings.set(beginning, [...(beginnings.get(beginning) ?? []), each]);
  }
  return (content) => {
    const found = new Set<string>();
    let beginning = 0;
    for (let at = 0; at < content.length; at++) {
      beginning = ((beginning << 8) | (content[at] ?? 0)) & 0xffff;
      if (isBeginning[beginning] === 0 || at === 0) continue;
      for (const { label, spelling } of beginnings.get(beginning) ?? []) {
        if (content.subarray(at - 1, at - 1 + spelling.length).equals(spelling)) found.add(label);
      }
    }
    return found;
  };
}

/** Base64 is searched without its end, which depends on what follows the key. */
const spellings = (needle: Buffer): Buffer[] => [
  needle,
  Buffer.from(needle.toString('hex')),
  Buffer.from(needle.toString('base64').replace(/.?=*$/, '')),
  Buffer.from(needle.toString('base64url').slice(0, -1)),
];
