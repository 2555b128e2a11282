import { lossReasonOf } from '@interlock/access';
import { type Cause, type EventStore, pagesOf, type RowChange, table } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import { type Clock, type Logger, type Random, serialQueue } from '@interlock/runtime';
import type { KeyAccess, SetKeyVersion } from './key-access.ts';
import type { KeyUnavailable } from './key-reasons.ts';
import type { Leases } from './leases.ts';

/** What a host found about a key by itself, as stored: the vault refused it, or was unreachable for longer than the grace. */
interface StoredHostLoss extends Omit<KeyUnavailable, 'reason'> {
  readonly reason: string;
  readonly set: string;
  readonly keyVersion: string;
  readonly kind: 'refused' | 'outage';
}

/** Keys that hosts cannot use, as far as no set published it. Every process reads them; a host writes its own. */
export interface HostLossTable {
  put(host: string, key: SetKeyVersion, loss: KeyUnavailable): Promise<RowChange | undefined>;
  /** The removal of a row; undefined if there is none. */
  remove(host: string, key: SetKeyVersion): Promise<RowChange | undefined>;
  /** The removals of every row of a host, a thousand at a time. */
  removals(host: string): AsyncIterable<readonly RowChange[]>;
  /** The rows of these keys at these hosts, by `hostLossKey`. */
  ofMany(keys: readonly string[]): Promise<ReadonlyMap<string, KeyUnavailable>>;
  /** Whether any host has a row about a key version of the set. */
  isAnyOf(set: string): Promise<boolean>;
}

/** Rows read at once. */
const pageSize = 1_000;

const prefixOf = (host: string): string => `${host} `;

/** Key of a row. Names have no spaces, and the store accepts no line breaks in a name. */
export const hostLossKey = (host: string, { set, keyVersion }: SetKeyVersion): string =>
  `${prefixOf(host)}${set} ${keyVersion}`;

/** Opens the table in a store. */
export const openHostLossTable = (store: EventStore): HostLossTable => {
  const rows = table<StoredHostLoss>(store, {
    name: 'host_loss',
    version: 1,
    indexes: ({ set }) => [{ index: 'set', value: set }],
  });
  return {
    async put(host, { set, keyVersion }, loss) {
      const name = hostLossKey(host, { set, keyVersion });
      const before = await rows.get(name);
      const kind = loss.reason === 'KEY_VAULT_UNREACHABLE' ? 'outage' : 'refused';
      const { reason, since } = loss;
      if (before?.reason === reason && before.since === since) return undefined;
      return rows.put(name, { set, keyVersion, kind, reason, since, ...originOf(loss) }, before);
    },
    async remove(host, key) {
      const name = hostLossKey(host, key);
      const before = await rows.get(name);
      return before && rows.remove(name, before);
    },
    async *removals(host) {
      for await (const page of pagesOf(rows, { prefix: prefixOf(host), limit: pageSize }))
        yield page.map(({ key, row }) => rows.remove(key, row));
    },
    async ofMany(keys) {
      const found = await rows.getMany([...new Set(keys)]);
      return new Map(
        [...found].flatMap(([key, row]) => {
          const reason = row.reason === 'KEY_VAULT_UNREACHABLE' ? row.reason : lossReasonOf(row.reason);
          return reason === undefined ? [] : [[key, { reason, since: row.since, ...originOf(row) }]];
        }),
      );
    },
    async isAnyOf(set) {
      return (await rows.list({ index: { index: 'set', value: set }, limit: 1 })).items.length > 0;
    },
  };
};

/** Where a loss came from, as far as it is known: JSON, so unknown values are left out. */
const originOf = ({ event, correlationId, traceparent }: Omit<KeyUnavailable, 'reason'>) => ({
  ...(event === undefined ? {} : { event }),
  ...(correlationId === undefined ? {} : { correlationId }),
  ...(traceparent === undefined ? {} : { traceparent }),
});

/** Waits between tries of a write, in milliseconds: doubling. */
const retryMs = (failures: number): number => Math.min(5_000, 100 * 2 ** (failures - 1));

interface HostLossParts {
  readonly table: HostLossTable;
  readonly store: Pick<EventStore, 'commit'>;
  readonly host: string;
  readonly keyAccess: KeyAccess;
  readonly leases: Pick<Leases, 'outageOf' | 'listen'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Keeps the rows of one host equal to what it found about keys by itself, so that another process can show why a disk of this host is
 * unavailable, also while the host is unreachable. What a set published is in the rows of sets. A disk under a key costs no row.
 * Rules G3, G10.
 */
export class HostLosses {
  readonly #parts: HostLossParts;
  readonly #serially = serialQueue();
  /** Keys with a row, or with a write that has not ended. */
  readonly #written = new Map<string, KeyUnavailable | undefined>();
  /** Writes that have not ended, by key. */
  readonly #writing = new Map<string, Promise<void>>();

  constructor(parts: HostLossParts) {
    this.#parts = parts;
    const note = (key: SetKeyVersion): void => this.#note(key);
    parts.keyAccess.listen({ held: note, lost: note, returned: note });
    parts.leases.listen(note);
  }

  /** Removes what an earlier process of the host found: this one calls the vault again. */
  async forgetEarlier(cause: Cause): Promise<void> {
    const { table: rows, store, host } = this.#parts;
    for await (const changes of rows.removals(host))
      if (changes.length > 0) await store.commit({ rows: changes }, cause);
  }

  /** Resolves when what was found about the key is stored. */
  async stored(key: SetKeyVersion): Promise<void> {
    await this.#writing.get(nameOf(key));
  }

  /** Starts a write if what the host found about the key has changed. */
  #note(key: SetKeyVersion): void {
    const { keyAccess, leases } = this.#parts;
    const name = nameOf(key);
    const loss = keyAccess.lossOf(key);
    // The row of the set replaces it, but may not be stored yet.
    if (loss !== undefined && keyAccess.isPublished(key)) return;
    const found = loss ?? leases.outageOf(key);
    const written = this.#written.get(name);
    if (found?.reason === written?.reason && found?.since === written?.since) return;
    if (found === undefined) this.#written.delete(name);
    else this.#written.set(name, found);
    const writing = outsideOfCalls(() => this.#serially(() => this.#write(key, name))).finally(() => {
      if (this.#writing.get(name) === writing) this.#writing.delete(name);
    });
    this.#writing.set(name, writing);
  }

  /** Stores the newest finding about a key, and repeats that until it succeeds. */
  async #write(key: SetKeyVersion, name: string): Promise<void> {
    const { table: rows, store, host, clock, random, log, signal } = this.#parts;
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        const found = this.#written.get(name);
        const row = await (found ? rows.put(host, key, found) : rows.remove(host, key));
        const cause = { correlationId: found?.correlationId ?? random.uuid(), causes: [], caller: 'system:disk' };
        if (row) await store.commit({ rows: [row] }, cause);
        return;
      } catch (error) {
        if (failures === 1) log.warn('what this host found about a key is not stored yet', { ...key, error });
        await clock.sleep(retryMs(failures), signal);
      }
    }
  }
}

const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;
