import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import postgres from 'postgres';
import type { Scanner } from './scanner.ts';

/** A place that a secret could have reached, in parts. */
export interface Part {
  /** For readers: file, table, stream. */
  readonly place: string;
  readonly bytes: Uint8Array;
}

const blockBytes = 8 * 1024 * 1024;

/** Files with less content than their size by this much are read without their holes. Most of a disk is a hole. */
const holesMin = 64 * 1024 * 1024;

/**
 * Every file below a folder, of any size, in blocks that overlap by `overlap` bytes. The content of a file with large holes comes as a
 * tar archive, which has none of them: to read a GiB of holes costs seconds, and Node cannot seek beyond one.
 * @param sparse `skip` passes over such files: they are disks, whose written places the caller searches
 */
export function* filesBelow(folder: string, overlap: number, sparse: 'read' | 'skip' = 'read'): Generator<Part> {
  const block = Buffer.alloc(blockBytes + overlap);
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isFile() !== true) continue;
    if (found.size - found.blocks * 512 > holesMin) {
      if (sparse === 'read') yield { place: `file ${name}`, bytes: withoutHoles(path) };
      continue;
    }
    const file = openIfThere(path);
    if (file === undefined) continue;
    try {
      for (let at = 0; ; at += blockBytes) {
        const read = readSync(file, block, 0, block.length, at);
        if (read > 0) yield { place: `file ${name}`, bytes: block.subarray(0, read) };
        if (read < block.length) break;
      }
    } finally {
      closeSync(file);
    }
  }
}

/**
 * The content of a sparse file, one run of data after the other, behind the header of an archive.
 * @throws Error if tar fails. Its status 1 is no failure: a machine wrote to the file meanwhile.
 */
const withoutHoles = (path: string): Uint8Array => {
  const args = ['--create', '--sparse', '--file', '-', '--directory', dirname(path), basename(path)];
  const { error, status, stdout, stderr } = spawnSync('tar', args, { maxBuffer: 2 ** 30 });
  if (error !== undefined) throw error;
  if (status !== 0 && status !== 1) throw new Error(`tar could not read ${path}: ${stderr}`);
  return stdout;
};

/** Undefined if a server has removed the file. */
const openIfThere = (path: string): number | undefined => {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Every row of every table of every service, as Postgres writes it out: bytes as hexadecimal text. */
export async function* tableRows({ databaseUrls }: Pick<LocalCloud, 'databaseUrls'>): AsyncGenerator<Part> {
  for (const service of serviceNames) {
    const sql = postgres(databaseUrls[service], { max: 1, onnotice: () => undefined });
    try {
      const tables = await sql<{ name: string }[]>`
        select format('%I.%I', schemaname, tablename) as name from pg_tables
        where schemaname not in ('pg_catalog', 'information_schema')`;
      for (const { name } of tables) {
        for await (const rows of sql
          .unsafe<{ text: string }[]>(`select t::text as text from ${name} t`)
          .cursor(1_000)) {
          yield {
            place: `table ${service} ${name}`,
            bytes: Buffer.from(rows.map(({ text }) => text).join('\n')),
          };
        }
      }
    } finally {
      await sql.end();
    }
  }
}

/** Every message JetStream still has, with its headers. */
export async function* messages({ nats }: Pick<LocalCloud, 'nats'>): AsyncGenerator<Part> {
  const connection = await nats.connect();
  try {
    const ask = async <Answer>(subject: string, question: object): Promise<Answer> =>
      (await connection.request(`$JS.API.STREAM.${subject}`, JSON.stringify(question))).json<Answer>();
    const { streams } = await ask<{ streams: string[] | null }>('NAMES', {});
    for (const stream of streams ?? []) {
      const { state } = await ask<{ state: { first_seq: number; last_seq: number } }>(`INFO.${stream}`, {});
      for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
        const { message } = await ask<{ message?: { subject: string; data?: string; hdrs?: string } }>(
          `MSG.GET.${stream}`,
          { seq },
        );
        // A sequence number without a message was deleted.
        if (message === undefined) continue;
        const bytes = Buffer.concat(
          [message.hdrs ?? '', message.data ?? ''].map((text) => Buffer.from(text, 'base64')),
        );
        yield { place: `message ${message.subject}`, bytes };
      }
    }
  } finally {
    await connection.close();
  }
}

/** A find and its place. */
export interface Leak {
  readonly place: string;
  readonly name: string;
  readonly form: string;
}

/** The result of a search. */
export interface Search {
  readonly places: number;
  readonly bytes: number;
  readonly leaks: readonly Leak[];
}

/** Searches all parts. */
export const searchPlaces = async (
  scanner: Scanner,
  ...sources: readonly (Iterable<Part> | AsyncIterable<Part>)[]
): Promise<Search> => {
  const places = new Set<string>();
  const leaks = new Map<string, Leak>();
  let bytes = 0;
  for (const source of sources) {
    for await (const part of source) {
      places.add(part.place);
      bytes += part.bytes.length;
      for (const { name, form } of scanner.scan(part.bytes)) {
        leaks.set(`${part.place}\0${name}\0${form}`, { place: part.place, name, form });
      }
    }
  }
  return { places: places.size, bytes, leaks: [...leaks.values()] };
};
