import type { JsonObject } from '@bufbuild/protobuf';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, connect, type RpcClient } from '@interlock/rpc';
import { Metadata } from 'nice-grpc-common';
import { shortName } from '../request/names.ts';
import { methodOf, Service } from '../request/schema.ts';
import { UsageError } from '../request/usage-error.ts';
import { beforeEnd } from '../session/endings.ts';
import type { Session } from '../session/session.ts';
import { endOtherAccess } from './end-other-access.ts';

/** The RPCs of the data path; each is one command of `disk`. */
export const diskDataMethods = ['Read', 'Write', 'Flush'] as const;

/** A disk whose data is wanted, by way of a direct access of the command's own. */
export interface DataWish {
  /** Full name. */
  readonly disk: string;
  /** Whether a direct access that somebody has is ended for it: a disk has one at a time. */
  readonly endsOther: boolean;
}

export interface ReadWish extends DataWish {
  readonly offset: number;
  /** To the end of the disk when absent. */
  readonly length: number | undefined;
  /** File in place of standard output; `-` is standard output, also where that is a terminal. */
  readonly output: string | undefined;
}

export interface WriteWish extends DataWish {
  readonly offset: number;
  /** File in place of standard input. */
  readonly input: string | undefined;
  /** Puts it on stable storage before it is called written. */
  readonly isFlushed: boolean;
}

/** Piece of a write: a message may hold 2 MiB. */
const PIECE_BYTES = 1024 * 1024;
/** What is acknowledged at once: how far a long write has come is known as exactly as this. */
const PORTION_BYTES = 16 * PIECE_BYTES;

/** How long somebody who ends a command waits for its access to be given back, in milliseconds. */
const GIVE_BACK_MS = 2_000;

/** A transfer takes as long as it takes; an hour is the end of what anybody waits. */
const TRANSFER_MS = 3_600_000;

/** Reads a range of a disk that no machine uses to standard output or a file. */
export async function readDisk({ offset, length, output, ...wish }: ReadWish, session: Session): Promise<void> {
  const { disk } = wish;
  if (output === undefined && session.terminal.isOutTerminal === true) {
    throw new UsageError(
      'what is on a disk is not for a terminal: send it on (> file, or | program), or name a file with --output; --output - shows it all the same',
    );
  }
  await withAccess('READ', wish, session, async ({ client, options, sizeBytes }) => {
    refuseBeyond(offset, sizeBytes);
    const lengthBytes = length ?? sizeBytes - offset;
    const pieces = async function* () {
      for await (const { data } of client.read({ name: disk, offsetBytes: offset, lengthBytes }, options)) yield data;
    };
    if (output !== undefined && output !== '-') await session.terminal.writeFile(output, pieces());
    else for await (const piece of pieces()) await session.terminal.outBytes(piece);
  });
}

/**
 * Writes standard input or a file to a disk that no machine uses, portion by portion.
 * @throws Rejection whose message and metadata (`acknowledged_bytes`) say how far it came
 */
export async function writeDisk({ offset, input, isFlushed, ...wish }: WriteWish, session: Session): Promise<void> {
  const { disk } = wish;
  const { terminal, output, trace } = session;
  const pieces = await notEmpty(terminal.in(input), input ?? 'standard input');
  await withAccess('WRITE', wish, session, async ({ client, options, sizeBytes }) => {
    refuseBeyond(offset, sizeBytes);
    const source = smallPieces(pieces);
    let piece = await source.next();
    let writtenBytes = 0;
    let sentBytes = 0;
    const portion = async function* (from: number) {
      yield { header: { name: disk, offsetBytes: from }, data: new Uint8Array() };
      for (const end = sentBytes + PORTION_BYTES; piece.done !== true && sentBytes + piece.value.length <= end; ) {
        sentBytes += piece.value.length;
        yield { header: undefined, data: piece.value };
        piece = await source.next();
      }
    };
    try {
      while (piece.done !== true) {
        const answer = await client.write(portion(offset + writtenBytes), options);
        writtenBytes += answer.writtenBytes;
      }
      if (isFlushed) await client.flush({ name: disk }, options);
    } catch (error) {
      const words = progressIn(writtenBytes, Math.min(sentBytes, sizeBytes - offset), offset);
      if (!(error instanceof Rejection)) {
        if (!output.isDocument) terminal.err(words);
        throw error;
      }
      const { code, reason, message, metadata } = error;
      const facts = { ...metadata, acknowledged_bytes: String(writtenBytes) };
      throw new Rejection(code, reason, `${message}. ${words}`, facts, { cause: error });
    }
    if (output.isDocument) {
      output.write({
        writtenBytes: String(writtenBytes),
        flushed: isFlushed,
        ...(trace === undefined ? {} : { trace }),
      });
    } else {
      terminal.err(`${writtenBytes} bytes written${isFlushed ? ' and flushed' : ''}`);
      if (trace !== undefined) terminal.err(`trace: ${trace}`);
    }
  });
}

/** @throws UsageError for a first byte that the disk does not have */
function refuseBeyond(offset: number, sizeBytes: number): void {
  if (offset >= sizeBytes) throw new UsageError(`--offset must be below the ${sizeBytes} bytes of the disk`);
}

/** How far a write came that failed. @param sentBytes of what was sent, as much as the disk has room for */
function progressIn(writtenBytes: number, sentBytes: number, offset: number): string {
  const done = `${writtenBytes} bytes from ${offset} on are written and acknowledged, not flushed`;
  if (sentBytes === writtenBytes) return done;
  const [from, to] = [offset + writtenBytes, offset + sentBytes - 1];
  return `${done}; of bytes ${from} to ${to} each sector holds either its old or its new content`;
}

/**
 * The same pieces, once there is something in them: before access is asked for, so that nobody takes a file that is
 * missing or a pipe that failed for a write that was done.
 * @throws UsageError when there is nothing
 */
async function notEmpty(pieces: AsyncIterable<Uint8Array>, source: string): Promise<AsyncIterable<Uint8Array>> {
  const rest = (async function* () {
    yield* pieces;
  })();
  for (;;) {
    const first = await rest.next();
    if (first.done === true) throw new UsageError(`nothing to write: ${source} is empty`);
    if (first.value.length === 0) continue;
    return (async function* () {
      yield first.value;
      yield* rest;
    })();
  }
}

/** Puts every acknowledged write of a disk on stable storage. */
export async function flushDisk(wish: DataWish, session: Session): Promise<void> {
  const { disk } = wish;
  const { terminal, output, trace } = session;
  await withAccess('WRITE', wish, session, async ({ client, options }) => {
    await client.flush({ name: disk }, options);
    if (output.isDocument) output.write({ flushed: true, ...(trace === undefined ? {} : { trace }) });
    else {
      terminal.err('flushed');
      if (trace !== undefined) terminal.err(`trace: ${trace}`);
    }
  });
}

interface Access {
  readonly client: RpcClient<typeof DiskDataServiceDefinition>;
  readonly options: CallOptions & { readonly metadata: Metadata };
  readonly sizeBytes: number;
}

/** The other's reads and writes would fail in the middle, and nobody would tell them why. @throws Rejection */
async function refuseInUse(disk: string, { caller, settings }: Session): Promise<void> {
  const { state } = await caller.call('disk', methodOf(Service.disk, 'GetDisk'), { name: disk });
  if (state !== 'ACTIVE_ACCESS') return;
  const short = shortName(disk, settings.namesWithoutFlags);
  throw new Rejection(
    'FAILED_PRECONDITION',
    'DISK_IN_ACTIVE_ACCESS',
    `somebody has direct access to ${short}, and a disk has one at a time: interlock disk end-access ${short} ends it, or the same command with --${endOtherAccess}`,
    { disk },
  );
}

/** Direct access for the time of `work`; it is given back also when the work fails, or the command is ended before its time. */
async function withAccess(
  accessLevel: 'READ' | 'WRITE',
  { disk, endsOther }: DataWish,
  session: Session,
  work: (access: Access) => Promise<void>,
): Promise<void> {
  const { caller, clock, random, tracer, dataChannel, timeoutMs = TRANSFER_MS } = session;
  const durationSeconds = Math.min(86_400, Math.ceil(timeoutMs / 1_000));
  const begin = methodOf(Service.disk, 'BeginAccess');
  if (!endsOther) await refuseInUse(disk, session);
  const access = await caller.call('disk', begin, { name: disk, accessLevel, durationSeconds });
  const accessToken = textOf(access, 'accessToken');
  const channel = dataChannel(textOf(access, 'dataAddress'));
  // Its own alone: whoever has ended that for an access of theirs goes on with it.
  const giveBack = (call: CallOptions = {}) =>
    caller.call('disk', methodOf(Service.disk, 'EndAccess'), { name: disk, accessToken }, call);
  const takeBack = beforeEnd(() => giveBack({ deadlineMs: GIVE_BACK_MS }));
  try {
    const client = connect({
      channel,
      definition: DiskDataServiceDefinition,
      credentials: undefined,
      audience: 'interlock:disk',
      clock,
      random,
      tracer,
    });
    const metadata = Metadata({ 'x-interlock-disk-access': accessToken });
    await work({
      client,
      options: { metadata, deadlineMs: timeoutMs },
      sizeBytes: Number(textOf(access, 'sizeBytes')),
    });
  } finally {
    takeBack();
    channel.close();
    await giveBack();
  }
}

async function* smallPieces(pieces: AsyncIterable<Uint8Array>) {
  for await (const piece of pieces)
    for (let at = 0; at < piece.length; at += PIECE_BYTES) yield piece.subarray(at, at + PIECE_BYTES);
}

function textOf(json: JsonObject, field: string): string {
  const value = json[field];
  return typeof value === 'string' ? value : '';
}
