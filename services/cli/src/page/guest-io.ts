import { recordOf } from '../report/journals.ts';
import type { Caller } from '../request/calls.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import type { LiveRows } from './live-rows.ts';
import type { IoMinute, IoSecond, PageMachine } from './rows.ts';

/** Journals that are followed: two machines of each group, of the first groups by name. */
const [GROUP_MACHINES_MAX, GROUPS_MAX] = [2, 6];
/** Pages of one journal that one reading takes: a journal may have 100,000 operations from before the page was opened. */
const PAGES_MAX = 5;
const MINUTE_MS = 60_000;

/** What a second had. Times in milliseconds. */
interface Second {
  done: number;
  failed: number;
  sumMs: number;
  maxMs: number;
}

/** The seconds of a minute of a group, by their number in the minute. */
type Minute = Map<number, Second>;

/** The reads, writes and flushes of a few machines of each group, from the journals of their guests. */
export class GuestIo {
  readonly #call: Caller['call'];
  readonly #rows: LiveRows;
  /** Where the journal of a machine continues. */
  readonly #after = new Map<string, string>();
  readonly #minutes = new Map<string, Map<number, Minute>>();

  constructor({ call }: Pick<Caller, 'call'>, rows: LiveRows) {
    this.#call = call;
    this.#rows = rows;
  }

  /**
   * Reads new operations, and sets the rows of the minutes that have some.
   * @param fromMs milliseconds since the epoch: what was before is forgotten
   * @throws Rejection, RpcFailure
   */
  async read(machines: readonly Pick<PageMachine, 'name' | 'group'>[], fromMs: number): Promise<void> {
    const followed = this.#followed(machines);
    for (const name of this.#after.keys())
      if (!followed.some((group) => group.names.includes(name))) this.#after.delete(name);
    for (const { group, names } of followed) {
      const minutes = this.#minutes.get(group) ?? new Map<number, Minute>();
      this.#minutes.set(group, minutes);
      const changed = new Set<number>();
      for (const name of names) await this.#follow(name, fromMs, minutes, changed);
      for (const minute of changed) {
        const row: IoMinute = { group, machines: names, minute, seconds: secondsOf(minutes.get(minute)) };
        this.#rows.set(`io ${minute} ${group}`, row);
      }
    }
    this.#forget(fromMs, new Set(followed.map(({ group }) => group)));
  }

  /** A machine that is followed stays so, because its journal is read up to now. */
  #followed(
    machines: readonly Pick<PageMachine, 'name' | 'group'>[],
  ): readonly { readonly group: string; readonly names: readonly string[] }[] {
    const groups = [...Map.groupBy(machines, ({ group }) => group)].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return groups.slice(0, GROUPS_MAX).map(([group, members]) => {
      const names = members.map(({ name }) => name).toSorted();
      const known = names.filter((name) => this.#after.has(name));
      return {
        group,
        names: [...new Set([...known, ...names.slice(0, GROUP_MACHINES_MAX)])].slice(0, GROUP_MACHINES_MAX),
      };
    });
  }

  async #follow(name: string, fromMs: number, minutes: Map<number, Minute>, changed: Set<number>): Promise<void> {
    const method = methodOf(Service.compute, 'ReadGuestJournal');
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const after = this.#after.get(name) ?? '';
      const page = await this.#call('compute', method, { name, after, pageSize: PAGE_SIZE_MAX });
      for (const operation of elementsIn(method, page))
        for (const { invokedMs, completedMs, ok } of recordOf(name, operation)) {
          if (completedMs < fromMs) continue;
          const minute = Math.floor(completedMs / MINUTE_MS);
          add(minutes, minute, Math.floor((completedMs % MINUTE_MS) / 1_000), { ok, tookMs: completedMs - invokedMs });
          changed.add(minute);
        }
      this.#after.set(name, String(page.readTo ?? ''));
      if (page.atEnd !== false) return;
    }
  }

  #forget(fromMs: number, groups: ReadonlySet<string>): void {
    const kept = new Set<string>();
    for (const [group, minutes] of this.#minutes) {
      if (!groups.has(group)) this.#minutes.delete(group);
      else
        for (const minute of minutes.keys()) {
          if ((minute + 1) * MINUTE_MS <= fromMs) minutes.delete(minute);
          else kept.add(`io ${minute} ${group}`);
        }
    }
    this.#rows.retain('io ', kept);
  }
}

const add = (
  minutes: Map<number, Minute>,
  number: number,
  second: number,
  { ok, tookMs }: { readonly ok: boolean; readonly tookMs: number },
): void => {
  const minute: Minute = minutes.get(number) ?? new Map();
  minutes.set(number, minute);
  const known = minute.get(second) ?? { done: 0, failed: 0, sumMs: 0, maxMs: 0 };
  minute.set(second, known);
  if (!ok) known.failed += 1;
  else {
    known.done += 1;
    known.sumMs += tookMs;
    known.maxMs = Math.max(known.maxMs, tookMs);
  }
};

const secondsOf = (minute: Minute = new Map()): readonly IoSecond[] =>
  [...minute]
    .toSorted(([a], [b]) => a - b)
    .map(([second, { done, failed, sumMs, maxMs }]) => [
      second,
      done,
      failed,
      done === 0 ? null : Math.round((sumMs / done) * 10) / 10,
      done === 0 ? null : Math.round(maxMs * 10) / 10,
    ]);
