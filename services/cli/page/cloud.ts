import type { IoRecord } from '@interlock/lab';
import { type Activity, type LossSummary, lossSummariesOf } from '@interlock/lab/report/activity/activity';
import { shortName } from '@interlock/lab/short-name';
import type { AuditRow, CloudRow, HostRow, IoMinute, PageLease, PageMachine } from '../src/page/rows.ts';
import type { SetRow } from '../src/watch/reading.ts';
import { type Connection, type Feed, rowOf, rowsOf } from './feed.ts';

/** What the page shows, from its rows. */
export interface Cloud {
  readonly row: CloudRow | undefined;
  readonly connection: Connection;
  readonly sets: readonly SetRow[];
  readonly leases: readonly PageLease[];
  readonly hosts: readonly HostRow[];
  readonly machines: readonly PageMachine[];
  /** By time. */
  readonly io: readonly IoMinute[];
  /** Newest first. */
  readonly audit: readonly AuditRow[];
  readonly activity: Activity;
  readonly summaries: readonly LossSummary[];
  /** The end of the timeline: now, or when the cloud was last read. Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** The part of it that follows from the rows alone. */
type FromRows = Omit<Cloud, 'connection' | 'nowMs'>;

/** Clouds of the newest rows: only the time moves between two messages, and 10,000 machines take a while. */
const known = new WeakMap<Feed, FromRows & { readonly version: number }>();

/** The cloud at a time, in milliseconds since the epoch. */
export function cloudOf(feed: Feed, atMs: number): Cloud {
  const { connection, version, newestMs } = feed;
  const before = known.get(feed);
  const cloud = before?.version === version ? before : { ...fromRows(feed), version };
  known.set(feed, cloud);
  const { row, activity } = cloud;
  const isLive = connection.isOpen && row?.state === 'live';
  const nowMs = isLive ? atMs : Math.min(newestMs, row?.state === 'gone' ? row.sinceMs : atMs);
  return { ...cloud, connection, nowMs, activity: { ...activity, toMs: nowMs } };
}

function fromRows(feed: Feed): FromRows {
  const machines = [...rowsOf(feed, 'machine').values()];
  const activity = activityOf(feed, machines);
  return {
    row: rowOf(feed, 'cloud'),
    machines,
    activity,
    summaries: lossSummariesOf(activity),
    sets: [...rowsOf(feed, 'set').values()],
    leases: [...rowsOf(feed, 'lease').values()],
    hosts: [...rowsOf(feed, 'host').values()],
    io: [...rowsOf(feed, 'io').values()].toSorted((a, b) => a.minute - b.minute),
    audit: [...rowsOf(feed, 'audit').values()].toSorted((a, b) => b.time.localeCompare(a.time)),
  };
}

/** The same data as that of the report, so that its code draws them. */
function activityOf(feed: Feed, machines: readonly PageMachine[]): Activity {
  const row = rowOf(feed, 'cloud');
  const power = rowsOf(feed, 'power');
  return {
    group: shortName(row?.title ?? ''),
    fromMs: row?.fromMs ?? feed.newestMs,
    toMs: feed.newestMs,
    machines: machines.map(({ name, group, disks, power: powerState, mismatches }) => ({
      ...{ name, group, disks, powerState, power: power.get(name) ?? [], starts: [] },
      counted: { reads: 0, writes: 0, failures: 0, mismatches },
    })),
    changes: rowOf(feed, 'changes') ?? [],
    refusals: [],
    hosts: [...rowsOf(feed, 'host').values()],
    io: [...rowsOf(feed, 'good')].map(([machine, { atMs }]) => lastGoodIo(machine, atMs)),
    unread: row?.unread ?? [],
  };
}

/** The last good operation of a machine, as a record of I/O: the only one that the page knows. */
const lastGoodIo = (machine: string, completedMs: number): IoRecord => ({
  ...{ machine, disk: '', op: 'write', seq: 0, ok: true, reason: '' },
  ...{ invokedMs: completedMs, completedMs, invokedMonotonicMs: 0, completedMonotonicMs: 0 },
});

/** `kv1/k1` of `vaults/kv1/keys/k1/versions/…`. */
export const shortKey = (key: string): string => {
  const [, vault = '', , name = ''] = key.split('/');
  return `${vault}/${name}`;
};

/** Whether a machine needs attention: it does not run because of a key, or its next start will fail. */
export const isHit = ({ reason, mismatches }: PageMachine): boolean => reason !== '' || mismatches > 0;

/** How many machines are in each state: `4 running, 2 stopped`. */
export function countText(machines: readonly PageMachine[]): string {
  const counts = new Map<string, number>();
  for (const { power } of machines) counts.set(power, (counts.get(power) ?? 0) + 1);
  const text = [...counts].map(([power, count]) => `${count.toLocaleString('en')} ${power.toLowerCase()}`).join(', ');
  return text === '' ? 'no machines' : text;
}
