import type { JsonObject } from '@bufbuild/protobuf';
import type { KeyChange } from '@interlock/lab/report/activity/activity';
import { spokenNames } from '../report/gather.ts';
import { changesIn } from '../report/key-changes.ts';
import type { Caller } from '../request/calls.ts';
import { limiterOf } from '../request/limiter.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import type { AuditRow } from './rows.ts';

/** Entries that are kept, the newest. */
const ENTRIES_MAX = 1_000;
/** Changes of keys that are kept in addition: they are few and old, and the timeline shows them. */
const CHANGES_MAX = 500;
/** Vaults that are read at once. */
const PARALLEL_MAX = 8;
/** Pages of a vault in one reading. */
const PAGES_MAX = 5;
/** An entry may be stored this long after it started, in milliseconds: so much is read again. */
const LATE_MS = 10_000;

/** The audit logs of the vaults whose keys the machines use. */
export class Audits {
  readonly #caller: Pick<Caller, 'call' | 'principal'>;
  readonly #short: (name: string) => string;
  /** By name. */
  #entries = new Map<string, JsonObject>();
  /** Time of the newest entry of each vault, in milliseconds since the epoch. */
  readonly #newest = new Map<string, number>();
  readonly #names = new Map<string, string>();

  /** @param short a name as users type it */
  constructor(caller: Pick<Caller, 'call' | 'principal'>, short: (name: string) => string) {
    this.#caller = caller;
    this.#short = short;
  }

  /** Reads new entries, the first time those since `fromMs`. @throws Rejection, RpcFailure */
  async read(vaults: readonly string[], fromMs: number): Promise<void> {
    const limited = limiterOf(PARALLEL_MAX);
    await Promise.all(vaults.map((vault) => limited(() => this.#readVault(vault, fromMs))));
    const byTime = [...this.#entries].toSorted(([, a], [, b]) => timeOf(a) - timeOf(b));
    const changes = byTime.slice(0, -ENTRIES_MAX).filter(([, { change }]) => change !== '');
    this.#entries = new Map([...changes.slice(-CHANGES_MAX), ...byTime.slice(-ENTRIES_MAX)]);
    const callers = [...this.#entries.values()].flatMap((entry) => [String(entry.caller), String(entry.onBehalfOf)]);
    const unknown = new Set(callers.filter((name) => !this.#names.has(name)));
    for (const [name, spoken] of await spokenNames(this.#caller, unknown)) this.#names.set(name, spoken);
  }

  /** Changes of these keys, by time. */
  changes(keys: readonly string[]): readonly KeyChange[] {
    return changesIn([...this.#entries.values()], keys, this.#called);
  }

  /** The entries, newest first. */
  rows(): readonly AuditRow[] {
    const entries = [...this.#entries.values()].slice(-ENTRIES_MAX).toReversed();
    return entries.map((entry) => ({
      name: String(entry.name),
      time: String(entry.time),
      operation: String(entry.operation),
      change: String(entry.change ?? ''),
      isGranted: entry.result === 'SUCCESS',
      reason: String(entry.reason ?? ''),
      key: this.#short(String(entry.keyVersion ?? '')).replace(/\/[0-9a-f]{32}$/, ''),
      by: this.#called(String(entry.onBehalfOf || entry.caller)),
      traceId: String(entry.traceId ?? ''),
      count: Number(entry.occurrenceCount ?? 1),
    }));
  }

  readonly #called = (name: string): string => this.#names.get(name) ?? this.#short(name);

  async #readVault(parent: string, fromMs: number): Promise<void> {
    const method = methodOf(Service.keyVault, 'ListAuditEntries');
    const since = Math.max(fromMs, (this.#newest.get(parent) ?? 0) - LATE_MS);
    const request = { parent, startTime: new Date(since).toISOString(), pageSize: PAGE_SIZE_MAX };
    let pageToken = '';
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const page = await this.#caller.call('key-vault', method, { ...request, pageToken });
      for (const entry of elementsIn(method, page)) {
        // The page itself: it would list little else.
        if (entry.operation === 'VaultAuditList' && entry.caller === this.#caller.principal) continue;
        this.#entries.set(String(entry.name), entry);
        this.#newest.set(parent, Math.max(timeOf(entry), this.#newest.get(parent) ?? 0));
      }
      pageToken = String(page.nextPageToken ?? '');
      if (pageToken === '') return;
    }
  }
}

const timeOf = ({ time }: JsonObject): number => Date.parse(String(time));
