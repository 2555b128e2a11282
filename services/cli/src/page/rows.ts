import type { DiskRecord } from '@interlock/lab';
import type { ActivePower, KeyChange } from '@interlock/lab/report/activity/activity';
import type { Workload } from '@interlock/rpc';
import type { HostRow } from '../report/disk-hosts.ts';
import type { LeaseRow, MachineRow, SetRow } from '../watch/reading.ts';

/** What the page knows about the cloud itself. Times are milliseconds since the epoch. */
export interface CloudRow {
  /** What the page shows: a group or subscription. */
  readonly title: string;
  /** `gone`: no service responds. */
  readonly state: 'reading' | 'live' | 'gone';
  /** Since when it is in this state. */
  readonly sinceMs: number;
  /** Start of the timeline. */
  readonly fromMs: number;
  /** How long a lease of a disk host lasts, in milliseconds; undefined while none is held. */
  readonly boundMs: number | undefined;
  /** Of each service: empty if it responds and publishes, otherwise what is wrong. */
  readonly problems: Readonly<Record<Workload, string>>;
  /** What the caller may not read, or what did not respond. */
  readonly unread: readonly string[];
}

/** A lease without its time, which changes with each reading. */
export interface PageLease extends Omit<LeaseRow, 'expiresInMs'> {
  /** The disk host that has it. */
  readonly host: string;
}

export type { HostRow };

/** A machine with its disks. */
export interface PageMachine extends Omit<MachineRow, 'operations'> {
  /** The sets of its disks, as its lane names them. */
  readonly group: string;
  readonly disks: readonly PageDisk[];
  /** The access loss that stopped it; undefined if none did. */
  readonly loss: PageLoss | undefined;
}

/** A disk of a machine. */
export interface PageDisk extends DiskRecord {
  /** Full name; empty under a key of the platform. */
  readonly set: string;
  /** `AVAILABLE`, `UNAVAILABLE`, `LEASE_PINNED`. */
  readonly availability: string;
  readonly host: string;
}

/** Why the platform stopped a machine. */
export interface PageLoss {
  readonly reason: string;
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
  /** ISO 8601; empty if unknown. */
  readonly since: string;
  /** Empty if it was not traced. */
  readonly traceId: string;
}

/** When a machine last read or wrote before it was off. Milliseconds since the epoch. */
export interface LastGood {
  readonly atMs: number;
  /** The stop that it came before. */
  readonly stopMs: number;
}

/** Operations that ended in a second of a minute: its number, how many were done and failed, and in milliseconds how long those done took. */
export type IoSecond = readonly [
  second: number,
  done: number,
  failed: number,
  meanMs: number | null,
  maxMs: number | null,
];

/** What guests of a group read and wrote in a minute. */
export interface IoMinute {
  readonly group: string;
  /** The machines whose journals are read; full names. */
  readonly machines: readonly string[];
  /** Minutes since the epoch. */
  readonly minute: number;
  /** Those with operations, in order. */
  readonly seconds: readonly IoSecond[];
}

/** An entry of an audit log. */
export interface AuditRow {
  readonly name: string;
  /** ISO 8601. */
  readonly time: string;
  readonly operation: string;
  readonly change: string;
  readonly isGranted: boolean;
  readonly reason: string;
  readonly key: string;
  readonly by: string;
  readonly traceId: string;
  /** Equal refusals that this entry stands for. */
  readonly count: number;
}

/** Every row of the page, by its name. Names of resources are full. */
export interface Rows {
  readonly cloud: CloudRow;
  /** By time. */
  readonly changes: readonly KeyChange[];
  readonly [set: `set ${string}`]: SetRow;
  readonly [lease: `lease ${string}`]: PageLease;
  readonly [host: `host ${string}`]: HostRow;
  readonly [machine: `machine ${string}`]: PageMachine;
  readonly [power: `power ${string}`]: readonly ActivePower[];
  readonly [good: `good ${string}`]: LastGood;
  /** The minute, and the group. */
  readonly [io: `io ${string}`]: IoMinute;
  readonly [audit: `audit ${string}`]: AuditRow;
}
