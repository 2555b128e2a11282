import { Fact, type ParkedFact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import {
  type CursorMove,
  type EventStore,
  pagesOf,
  Rejection,
  type RowChange,
  type TableDefinition,
  table,
} from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** A fact its handler could not apply, or one that waits behind such a fact of its stream. */
export interface ParkedRow {
  readonly source: string;
  readonly partition: number;
  readonly position: number;
  readonly stream: string;
  /** The encoded `Fact`, base64url. */
  readonly fact: string;
  /** Error of the handler; empty for a fact that only waits behind another. */
  readonly error: string;
  readonly reason: string;
  readonly attempts: number;
  readonly time: Instant;
}

/** Reason of a fact that waits behind an earlier one. */
export const PARKED_BEHIND = 'PARKED_BEHIND';

const streamValue = (source: string, stream: string): string => `${source} ${stream}`;
const partitionValue = (source: string, partition: number): string => `${source} ${partition}`;

const definition: TableDefinition<ParkedRow> = {
  name: 'parked',
  version: 1,
  indexes: ({ source, stream, partition }) => [
    { index: 'stream', value: streamValue(source, stream) },
    { index: 'partition', value: partitionValue(source, partition) },
  ],
};

/** Digits of a position in a key: keys sort as text, positions as numbers. */
const POSITION_DIGITS = 16;
const PAGE = 1_000;

const keyOf = (source: string, position: number): string =>
  `${source}-${String(position).padStart(POSITION_DIGITS, '0')}`;

/** Whether a text has the form of such a key. */
export const isParkedKey = (text: string): boolean => /^[a-z-]+-\d{16}$/.test(text);

/** A parked row with its key. */
export interface Parked {
  readonly key: string;
  readonly row: ParkedRow;
}

/** The parked facts of a service. Changes are only described here; a commit stores them. */
export interface ParkedFacts {
  get(source: string, position: number): Promise<ParkedRow | undefined>;
  /** The oldest parked fact of a stream. */
  firstOf(source: string, stream: string): Promise<ParkedRow | undefined>;
  list(query: { readonly after?: string; readonly limit: number }): Promise<{
    readonly items: readonly Parked[];
    readonly next?: string;
  }>;
  /** Streams with parked facts, and how many facts, of one partition. */
  ofPartition(source: string, partition: number): Promise<{ readonly streams: Set<string>; readonly count: number }>;
  put(row: ParkedRow, before: ParkedRow | undefined): RowChange;
  remove(row: ParkedRow): RowChange;
  /**
   * Read it before the parked facts of a partition, and commit it with a change of them: the commit fails if another process
   * changed them in between. So no fact is parked behind one whose replay has just finished.
   */
  guard(source: string, partition: number): Promise<CursorMove>;
}

export const parkedFacts = (store: EventStore): ParkedFacts => {
  const rows = table<ParkedRow>(store, definition);
  return {
    get: (source, position) => rows.get(keyOf(source, position)),
    async firstOf(source, stream) {
      const index = { index: 'stream', value: streamValue(source, stream) };
      const { items } = await rows.list({ index, limit: 1 });
      return items[0]?.row;
    },
    list: (query) => rows.list(query),
    async ofPartition(source, partition) {
      const index = { index: 'partition', value: partitionValue(source, partition) };
      const streams = new Set<string>();
      let count = 0;
      for await (const page of pagesOf(rows, { index, limit: PAGE })) {
        for (const { row } of page) streams.add(row.stream);
        count += page.length;
      }
      return { streams, count };
    },
    put: (row, before) => rows.put(keyOf(row.source, row.position), row, before),
    remove: (row) => rows.remove(keyOf(row.source, row.position), row),
    async guard(source, partition) {
      const name = `parked:${source}:${partition}`;
      const from = await store.cursor(name);
      return { name, from, to: from + 1 };
    },
  };
};

export const encodeFact = (fact: Fact): string => Buffer.from(Fact.encode(fact).finish()).toString('base64url');

export const decodeFact = (text: string): Fact => Fact.decode(Buffer.from(text, 'base64url'));

/** A parked row as the API shows it. */
export const toParkedFact = (row: ParkedRow): ParkedFact => ({
  name: `parkedFacts/${row.source}-${row.position}`,
  source: row.source,
  fact: decodeFact(row.fact),
  errorMessage: row.error,
  errorReason: row.reason,
  attemptCount: row.attempts,
  parkTime: new Date(row.time),
});

/** Source and position of `parkedFacts/{source}-{position}`. @throws Rejection INVALID_NAME */
export const parseParkedName = (name: string): { readonly source: string; readonly position: number } => {
  const [, source, digits] = /^parkedFacts\/([a-z0-9-]+)-([1-9][0-9]{0,15})$/.exec(name) ?? [];
  if (!source || !digits) {
    const message = `name must be parkedFacts/{source}-{position}, for example parkedFacts/key-vault-17, not ${name}`;
    throw new Rejection('INVALID_ARGUMENT', 'INVALID_NAME', message, { name });
  }
  return { source, position: Number(digits) };
};
