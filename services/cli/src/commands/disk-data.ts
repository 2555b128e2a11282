import type { JsonObject } from '@bufbuild/protobuf';
import type { WriteRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, connect, type RetryPolicy, type RpcClient, RpcFailure } from '@interlock/rpc';
import { Metadata } from 'nice-grpc-common';
import { UsageError } from '../problems.ts';
import { shortName } from '../request/names.ts';
import { methodOf, Service } from '../request/schema.ts';
import { beforeEnd } from '../session/endings.ts';
import type { Session } from '../session/session.ts';

/** The RPCs of the data path; each is one command of `disk`. */
export const diskDataMethods = ['Read', 'Write', 'Flush'] as const;

/** A disk, and how the command gets its direct access. */
export interface DataOptions {
  /** Full name. */
  readonly disk: string;
  /** Whether an existing direct access is ended: a disk has one at a time. */
  readonly endsOther: boolean;
}

export interface ReadOptions extends DataOptions {
  readonly offset: number;
  /** To the end of the disk by default. */
  readonly length: number | undefined;
  /** File in place of standard output; `-` is standard output, also when it is a terminal. */
  readonly output: string | undefined;
}

export interface WriteOptions extends DataOptions {
  readonly offset: number;
  /** File in place of standard input. */
  readonly input: string | undefined;
  /** Flushes each portion to stable storage. */
  readonly isFlushed: boolean;
}

/** Bytes per message of a write; a message may hold 2 MiB. */
const PIECE_BYTES = 1024 * 1024;
/** Bytes per Write call, and so per acknowledgement: the progress of a failed write is known to this precision. */
const PORTION_BYTES = 16 * PIECE_BYTES;

const ONCE: RetryPolicy = { attemptsMax: 1, backoffMs: 1, backoffMsMax: 1 };

/** How long the end of an interrupted command waits for EndAccess, in milliseconds. */
const END_ACCESS_MS = 2_000;

/** Longest transfer without `--timeout`, in milliseconds: an hour. */
const TRANSFER_MS = 3_600_000;

/** Reads a range of a disk to standard output or a file. */
export async function readDisk({ offset, length, output, ...options }: ReadOptions, session: Session): Promise<void> {
  const { disk } = options;
  if (output === undefined && session.terminal.isOutTerminal === true) {
    throw new UsageError(
      'standard output is a terminal: redirect it (> file, or | program), or name a file with --output; --output - writes to the terminal',
    );
  }
  await withAccess('READ', options, session, async ({ client, options, sizeBytes }) => {
    refuseBeyond(offset, sizeBytes);
    const lengthBytes = length ?? sizeBytes - offset;
    const pieces = async function* () {
      const patience = patienceOf(session, options);
      for (let readBytes = 0; ; ) {
        // After an interruption the rest is read.
        const rest = { name: disk, offsetBytes: offset + readBytes, lengthBytes: lengthBytes - readBytes };
        try {
          for await (const { data } of client.read(rest, options())) {
            readBytes += data.length;
            patience.worked();
            yield data;
          }
          return;
        } catch (error) {
          await patience.wait(error);
        }
      }
    };
    if (output !== undefined && output !== '-') await session.terminal.writeFile(output, pieces());
    else for await (const piece of pieces()) await session.terminal.outBytes(piece);
  });
}

/**
 * Writes standard input or a file to a disk, portion by portion.
 * @throws Rejection whose message and metadata (`acknowledged_bytes`) contain the progress
 */
export async function writeDisk(
  { offset, input, isFlushed, ...options }: WriteOptions,
  session: Session,
): Promise<void> {
  const { disk } = options;
  const { terminal, output, trace } = session;
  const pieces = await notEmpty(terminal.in(input), input ?? 'standard input');
  await withAccess('WRITE', options, session, async ({ client, options, sizeBytes }) => {
    refuseBeyond(offset, sizeBytes);
    const portions = portionsOf(pieces);
    let writtenBytes = 0;
    try {
      for (; await portions.next(); writtenBytes += portions.bytes) {
        const header = { name: disk, offsetBytes: offset + writtenBytes };
        // With the flush: a host that was restarted knows nothing of writes that were not flushed.
        await patiently(session, options, async () => {
          await client.write(portions.sent(header), options());
          if (isFlushed) await client.flush({ name: disk }, options());
        });
      }
    } catch (error) {
      const words = progressIn(
        writtenBytes,
        Math.min(writtenBytes + portions.bytes, sizeBytes - offset),
        offset,
        isFlushed,
      );
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

/** @throws UsageError for an offset beyond the end of the disk */
function refuseBeyond(offset: number, sizeBytes: number): void {
  if (offset >= sizeBytes) throw new UsageError(`--offset must be below the ${sizeBytes} bytes of the disk`);
}

/** Progress of a failed write. @param sentBytes within the size of the disk */
function progressIn(writtenBytes: number, sentBytes: number, offset: number, isFlushed: boolean): string {
  const done = `${writtenBytes} bytes from offset ${offset} are written and ${isFlushed ? 'flushed' : 'acknowledged, not flushed'}`;
  if (sentBytes === writtenBytes) return done;
  const [from, to] = [offset + writtenBytes, offset + sentBytes - 1];
  return `${done}; each sector in bytes ${from} to ${to} holds its old or its new content`;
}

/**
 * The same pieces, after the first one has arrived. A missing file or a failed pipe is refused before the access begins.
 * @throws UsageError for empty input
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

/** Flushes every acknowledged write of a disk to stable storage. */
export async function flushDisk(options: DataOptions, session: Session): Promise<void> {
  const { disk } = options;
  const { terminal, output, trace } = session;
  await withAccess('WRITE', options, session, async ({ client, options }) => {
    await patiently(session, options, () => client.flush({ name: disk }, options()));
    if (output.isDocument) output.write({ flushed: true, ...(trace === undefined ? {} : { trace }) });
    else {
      terminal.err('flushed');
      if (trace !== undefined) terminal.err(`trace: ${trace}`);
    }
  });
}

type DataCallOptions = CallOptions & { readonly metadata: Metadata; readonly deadlineMs: number };

/** Whether the disk host ended, or cannot be reached. It may have done the work. */
const isHostGone = (error: unknown): boolean => error instanceof RpcFailure && error.code === 'UNAVAILABLE';

/** Wait before work is repeated, in milliseconds. */
const REPEAT_MS = 200;

/** How long a command waits for its disk host, in milliseconds: a pod is replaced in 7 to 13 s. */
const HOST_AWAY_MS_MAX = 60_000;

/** Waits for a disk host that ended. */
interface Patience {
  /** Waits until work may be repeated whose repetition has the same result. @throws the error if the host answered, or stays away */
  wait(error: unknown): Promise<void>;
  /** The host works: it may be away again for as long. */
  worked(): void;
}

function patienceOf({ clock }: Pick<Session, 'clock'>, options: Access['options']): Patience {
  let endMs: number | undefined;
  return {
    async wait(error) {
      endMs ??= clock.monotonicMs() + HOST_AWAY_MS_MAX;
      if (!isHostGone(error) || clock.monotonicMs() >= endMs || options().deadlineMs <= REPEAT_MS) throw error;
      await clock.sleep(REPEAT_MS);
    },
    worked: () => {
      endMs = undefined;
    },
  };
}

/** Does work whose repetition has the same result, and repeats it while the disk host is away. */
async function patiently(session: Session, options: Access['options'], work: () => Promise<unknown>): Promise<void> {
  for (const patience = patienceOf(session, options); ; ) {
    try {
      await work();
      return;
    } catch (error) {
      await patience.wait(error);
    }
  }
}

/** A direct access that the command has begun. */
export interface Access {
  readonly client: RpcClient<typeof DiskDataServiceDefinition>;
  /** Options of the next call, whose deadline is that of the command. */
  readonly options: () => DataCallOptions;
  readonly sizeBytes: number;
  /** Where the disk is a network block device; empty if its host serves none. */
  readonly nbdAddress: string;
  /** Name of the disk there, with the token of this access. */
  readonly exportName: string;
}

/** BeginAccess ends an existing direct access without a warning. @throws Rejection DISK_IN_ACTIVE_ACCESS */
async function refuseInUse(disk: string, { caller, settings }: Session): Promise<void> {
  const { state } = await caller.call('disk', methodOf(Service.disk, 'GetDisk'), { name: disk });
  if (state !== 'ACTIVE_ACCESS') return;
  const short = shortName(disk, settings.namesWithoutFlags);
  throw new Rejection(
    'FAILED_PRECONDITION',
    'DISK_IN_ACTIVE_ACCESS',
    `${short} has a direct access, and a disk has one at a time`,
    { disk },
    {
      help: `End it with interlock disk end-access ${short}, or repeat the command with --end-other-access`,
    },
  );
}

/** Runs `work` with direct access. The access ends with it, also when the work fails or the command is interrupted. */
export async function withAccess(
  accessLevel: 'READ' | 'WRITE',
  { disk, endsOther }: DataOptions,
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
  // With the token: an access that another user has begun since stays.
  const endAccess = (call: CallOptions = {}) =>
    caller.call('disk', methodOf(Service.disk, 'EndAccess'), { name: disk, accessToken }, call);
  const cancel = beforeEnd(() => endAccess({ deadlineMs: END_ACCESS_MS }));
  try {
    const client = connect({
      channel,
      definition: DiskDataServiceDefinition,
      credentials: undefined,
      audience: 'interlock:disk',
      clock,
      random,
      tracer,
      // Repeated here: a flush only with the writes before it, which a host that was restarted may not have.
      retry: ONCE,
    });
    const metadata = Metadata({ 'x-interlock-disk-access': accessToken });
    const endMs = clock.monotonicMs() + timeoutMs;
    await work({
      client,
      options: () => ({ metadata, deadlineMs: Math.max(1, endMs - clock.monotonicMs()) }),
      sizeBytes: Number(textOf(access, 'sizeBytes')),
      nbdAddress: textOf(access, 'nbdAddress'),
      exportName: `${disk}@${accessToken}`,
    });
  } finally {
    cancel();
    channel.close();
    await endAccess();
  }
}

/** The input of a write, portion by portion. A portion is kept until the next one, because it may have to be sent again. */
interface Portions {
  /** Begins the next portion. @returns false at the end of the input */
  next(): Promise<boolean>;
  /** The portion as messages: as far as it was read, then more of the input. An earlier stream of it ends. */
  sent(header: { readonly name: string; readonly offsetBytes: number }): AsyncIterable<WriteRequest>;
  /** Bytes of the portion so far. */
  readonly bytes: number;
}

function portionsOf(pieces: AsyncIterable<Uint8Array>): Portions {
  const source = smallPieces(pieces);
  let kept: Uint8Array[] = [];
  let bytes = 0;
  let stream = 0;
  /** The next piece of the input. Two streams may wait for it, of which one has ended. */
  let upcoming: Promise<IteratorResult<Uint8Array>> | undefined;
  const peek = () => (upcoming ??= source.next());
  return {
    async next() {
      kept = [];
      bytes = 0;
      return (await peek()).done !== true;
    },
    async *sent(header) {
      stream += 1;
      const own = stream;
      yield { header, data: new Uint8Array() };
      for (const data of [...kept]) yield { header: undefined, data };
      for (;;) {
        const piece = await peek();
        if (own !== stream || piece.done === true || bytes + piece.value.length > PORTION_BYTES) return;
        upcoming = undefined;
        kept.push(piece.value);
        bytes += piece.value.length;
        yield { header: undefined, data: piece.value };
      }
    },
    get bytes() {
      return bytes;
    },
  };
}

async function* smallPieces(pieces: AsyncIterable<Uint8Array>) {
  for await (const piece of pieces)
    for (let at = 0; at < piece.length; at += PIECE_BYTES) yield piece.subarray(at, at + PIECE_BYTES);
}

function textOf(json: JsonObject, field: string): string {
  const value = json[field];
  return typeof value === 'string' ? value : '';
}
