import { Rejection } from '@interlock/event-store';
import { addressOfReplica } from '@interlock/host';
import type { DiskIo } from '@interlock/lab/judge/invariants/io';
import { type CellRange, cellBytes, rangeContent, sectorCells } from '@interlock/lab/judge/model/content';
import { Metadata } from 'nice-grpc-common';
import type { GuestIo } from '../invariants/vm-hosts.ts';
import { refusalOf } from './outcomes.ts';
import { sectorsInUse } from './sectors.ts';
import { attempt, type Stage } from './stage.ts';

/** Metadata in which reads and writes carry their right, as the contract has it. */
const accessTokenKey = 'x-interlock-disk-access';

/** A way to a disk's data. */
export interface DataAccess {
  readonly disk: string;
  /** Where the disk is served, as its open named it. */
  readonly address: string;
  readonly token: string;
  readonly by: 'machine' | 'user';
  readonly who: string;
  /** Of a guest at a VM host: its run, as `RunningGuest` has it. */
  readonly run?: number;
  /** Longest operation, in milliseconds; default 8,000. */
  readonly timeoutMs?: number;
}

/** The part of a stage that reads and writes need. */
export interface IoStage extends Pick<Stage, 'truth' | 'random' | 'nextNumber'> {
  readonly world: Pick<Stage['world'], 'clock'>;
  readonly clients: Pick<Stage['clients'], 'dataAt'>;
  readonly log: Pick<Stage['log'], 'begin' | 'end'>;
  readonly judge: Pick<Stage['judge'], 'onIo' | 'onWrongContent' | 'onFailure'>;
}

/** Deadline of an operation on sectors, in milliseconds. */
const timeoutDefaultMs = 8_000;

const withToken = ({ token, timeoutMs: deadlineMs = timeoutDefaultMs }: DataAccess) => ({
  metadata: new Metadata({ [accessTokenKey]: token }),
  deadlineMs,
});
const epochOf = (token: string): number => Number(token.split('.')[0]);

/** The operation, for the judge, whatever its outcome. */
const ioOf = (stage: IoStage, access: DataAccess, kind: DiskIo['kind']): Omit<GuestIo, 'outcome' | 'refusal'> => ({
  kind,
  disk: access.disk,
  by: access.by,
  attachEpoch: epochOf(access.token),
  invokedMs: stage.truth.nowMs(),
  who: access.who,
  ...(access.run === undefined ? {} : { run: access.run }),
});

type DataClient = ReturnType<IoStage['clients']['dataAt']>;

/** Hosts that name each other as the one that has a disk are called so often. */
const followsMax = 3;

/** By the clients of a history: where the disk of an access token was found last, as a guest remembers it. */
const foundAt = new WeakMap<object, Map<string, string>>();

/** Where a process of disk answers that may be asked for the host of a disk. */
const anyDisk = addressOfReplica({ service: 'disk', replica: 0 });

/** When an operation that waits asks for the host of its disk, each time after the last one, and its longest question, in milliseconds. */
const askAfterMs = [500, 1_000, 2_000];
const askMs = 2_000;

const addressIn = (error: unknown): string | undefined =>
  error instanceof Rejection && error.reason === 'DISK_NOT_HERE' ? error.metadata.data_address : undefined;

/** Asks the disk service for the host of a disk, as a guest whose host does not answer, until it is another one. */
const askElsewhere = async (
  { clients, world: { clock } }: IoStage,
  access: DataAccess,
  address: string,
  signal: AbortSignal,
): Promise<string | undefined> => {
  for (const afterMs of askAfterMs) {
    await clock.sleep(afterMs, signal);
    if (signal.aborted) return undefined;
    const question = { ...withToken({ ...access, timeoutMs: askMs }), signal };
    const found = await clients
      .dataAt(anyDisk)
      .flush({ name: access.disk }, question)
      .then(() => undefined, addressIn);
    if (found !== undefined && found !== address) return found;
  }
  return undefined;
};

/** One try of an operation. @returns its answer, or the address of the host that has the disk instead */
const tryAt = async <Answer>(
  stage: IoStage,
  access: DataAccess,
  address: string,
  call: HostCall<Answer>,
): Promise<{ readonly answer: Answer } | { readonly next: string; readonly error: unknown }> => {
  const [ended, cancelled] = [new AbortController(), new AbortController()];
  let next: string | undefined;
  void askElsewhere(stage, access, address, ended.signal).then((found) => {
    next = found;
    if (found !== undefined) cancelled.abort();
  });
  try {
    const options = { ...withToken(access), signal: cancelled.signal };
    return { answer: await call(stage.clients.dataAt(address), options) };
  } catch (error) {
    next ??= addressIn(error);
    if (next === undefined || next === address) throw error;
    return { next, error };
  } finally {
    ended.abort();
  }
};

type HostCall<Answer> = (
  client: DataClient,
  options: ReturnType<typeof withToken> & { readonly signal: AbortSignal },
) => Promise<Answer>;

/** Calls the host that has the disk: an open disk may have moved. */
const atItsHost = async <Answer>(stage: IoStage, access: DataAccess, call: HostCall<Answer>): Promise<Answer> => {
  const { clients } = stage;
  const found = foundAt.get(clients) ?? new Map<string, string>();
  foundAt.set(clients, found);
  for (let follows = 0; ; follows += 1) {
    const tried = await tryAt(stage, access, found.get(access.token) ?? access.address, call);
    if ('answer' in tried) return tried.answer;
    if (follows === followsMax) throw tried.error;
    found.set(access.token, tried.next);
  }
};

const rangeText = ({ first, count }: CellRange): string => `cells ${first}..${first + count - 1}`;

/** A stream of one message. */
async function* only<Message>(message: Message): AsyncGenerator<Message, void> {
  yield message;
}

/** Mostly whole sectors; sometimes a part of one, which is read, changed and written back. */
const pickRange = ({ random }: Pick<Stage, 'random'>, sectorsMax: number): CellRange => {
  const sector = random.int(sectorsInUse);
  if (random.chance(0.2)) {
    const from = random.int(sectorCells - 1);
    return { first: sector * sectorCells + from, count: 1 + random.int(Math.min(3, sectorCells - from)) };
  }
  const count = Math.min(1 + random.int(sectorsMax), sectorsInUse - sector);
  return { first: sector * sectorCells, count: count * sectorCells };
};

/** Writes new content that identifies its write. */
export const writeSomething = async (stage: IoStage, access: DataAccess): Promise<void> => {
  const { truth, judge } = stage;
  const content = truth.contentOf(access.disk);
  const range = pickRange(stage, 2);
  if (!content.isFree(range)) return;
  const value = stage.nextNumber();
  const name = access.disk;
  const io = ioOf(stage, access, 'write');
  const end = content.beginWrite(range, value);
  const data = rangeContent(range, value);
  const header = { name, offsetBytes: range.first * cellBytes };
  const { outcome, error } = await attempt(
    stage,
    'write',
    `${name} ${rangeText(range)} as ${value} by ${access.who}`,
    () => atItsHost(stage, access, (client, options) => client.write(only({ header, data }), options)),
  );
  end(outcome.kind === 'ok' ? 'done' : outcome.kind === 'refused' ? 'refused' : 'unknown');
  judge.onIo({ ...io, outcome, refusal: refusalOf(error) });
};

/** Reads a range and compares every byte. */
export const readRange = async (stage: IoStage, access: DataAccess, range: CellRange): Promise<boolean> => {
  const { truth, judge } = stage;
  const content = truth.contentOf(access.disk);
  if (!content.isFree(range)) return false;
  const io = ioOf(stage, access, 'read');
  const end = content.beginRead(range);
  const request = { name: access.disk, offsetBytes: range.first * cellBytes, lengthBytes: range.count * cellBytes };
  const { outcome, value, error } = await attempt(
    stage,
    'read',
    `${access.disk} ${rangeText(range)} by ${access.who}`,
    () =>
      atItsHost(stage, access, async (client, options) => {
        const pieces: Uint8Array[] = [];
        for await (const { data } of client.read(request, options)) pieces.push(data);
        return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
      }),
  );
  const wrong = end(value);
  judge.onIo({ ...io, outcome, refusal: refusalOf(error) });
  if (wrong !== undefined) judge.onWrongContent(access.disk, wrong);
  return value !== undefined;
};

export const readSomething = (stage: IoStage, access: DataAccess): Promise<boolean> =>
  readRange(stage, access, pickRange(stage, 3));

/** Flushes what was acknowledged. */
export const flush = async (stage: IoStage, access: DataAccess): Promise<void> => {
  const { truth, judge } = stage;
  const flushed = truth.contentOf(access.disk).beginFlush();
  const io = ioOf(stage, access, 'flush');
  const { outcome, error } = await attempt(stage, 'flush', `${access.disk} by ${access.who}`, () =>
    atItsHost(stage, access, (client, options) => client.flush({ name: access.disk }, options)),
  );
  if (outcome.kind === 'ok') flushed();
  judge.onIo({ ...io, outcome, refusal: refusalOf(error) });
};
