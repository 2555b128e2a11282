import { Rejection } from '@interlock/event-store';
import { addressOfReplica } from '@interlock/host';
import type { DiskIo } from '@interlock/lab/judge/invariants/io';
import { type CellRange, cellBytes, rangeContent, sectorCells } from '@interlock/lab/judge/model/content';
import { RpcFailure } from '@interlock/rpc';
import { Metadata } from 'nice-grpc-common';
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
  /** Longest operation, in milliseconds; default 8,000. */
  readonly timeoutMs?: number;
}

/** The part of a stage that reads and writes need. */
export interface IoStage extends Pick<Stage, 'truth' | 'random' | 'nextNumber'> {
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
const ioOf = (stage: IoStage, access: DataAccess, kind: DiskIo['kind']): Omit<DiskIo, 'outcome' | 'refusal'> => ({
  kind,
  disk: access.disk,
  by: access.by,
  attachEpoch: epochOf(access.token),
  invokedMs: stage.truth.nowMs(),
});

type DataClient = ReturnType<IoStage['clients']['dataAt']>;

/** Hosts that name each other as the one that has a disk are called so often. */
const followsMax = 3;

/** By the clients of a history: where the disk of an access token was found last, as a guest remembers it. */
const foundAt = new WeakMap<object, Map<string, string>>();

/** Where a process of disk answers that may be asked for the host of a disk. */
const anyDisk = addressOfReplica({ service: 'disk', replica: 0 });

/** The host that has a disk, if the call failed because of where it was sent: its former host names it, or the disk service if that host does not answer. */
const elsewhere = async (
  { clients }: Pick<IoStage, 'clients'>,
  access: DataAccess,
  error: unknown,
): Promise<string | undefined> => {
  const named = addressIn(error);
  if (named !== undefined || !(error instanceof RpcFailure)) return named;
  return clients
    .dataAt(anyDisk)
    .flush({ name: access.disk }, withToken({ ...access, timeoutMs: askMs }))
    .then(() => undefined, addressIn);
};

/** Longest question for the host of a disk, in milliseconds. */
const askMs = 2_000;

const addressIn = (error: unknown): string | undefined =>
  error instanceof Rejection && error.reason === 'DISK_NOT_HERE' ? error.metadata.data_address : undefined;

/** Calls the host that has the disk: an open disk may have moved. */
const atItsHost = async <Answer>(
  stage: Pick<IoStage, 'clients'>,
  access: DataAccess,
  call: (client: DataClient) => Promise<Answer>,
): Promise<Answer> => {
  const { clients } = stage;
  const found = foundAt.get(clients) ?? new Map<string, string>();
  foundAt.set(clients, found);
  let address = found.get(access.token) ?? access.address;
  for (let follows = 0; ; follows += 1) {
    try {
      return await call(clients.dataAt(address));
    } catch (error) {
      const next = follows === followsMax ? undefined : await elsewhere(stage, access, error);
      if (next === undefined || next === address) throw error;
      address = next;
      found.set(access.token, next);
    }
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
    () => atItsHost(stage, access, (client) => client.write(only({ header, data }), withToken(access))),
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
      atItsHost(stage, access, async (client) => {
        const pieces: Uint8Array[] = [];
        for await (const { data } of client.read(request, withToken(access))) pieces.push(data);
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
    atItsHost(stage, access, (client) => client.flush({ name: access.disk }, withToken(access))),
  );
  if (outcome.kind === 'ok') flushed();
  judge.onIo({ ...io, outcome, refusal: refusalOf(error) });
};
