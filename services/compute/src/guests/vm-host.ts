import type { Instant } from '@interlock/runtime';
import type { JournalEntry } from '../guest/journal.ts';

/** What runs as a machine: a process that reads and writes, a Linux in QEMU, or nothing. */
export type GuestKind = 'PROCESS' | 'QEMU' | 'IDLE';

/** What the guest does with its disks. */
export interface Workload {
  readonly kind: 'IDLE' | 'WRITE_AND_VERIFY';
  readonly ioPerSecond: number;
  readonly ioSizeBytes: number;
}

/** A read that returned other bytes than the machine wrote. */
export interface ContentMismatch {
  /** Full name. */
  readonly disk: string;
  /** In bytes. */
  readonly offset: number;
  readonly length: number;
  readonly at: Instant;
}

/** A disk as a guest reaches it. */
export interface GuestDisk {
  /** Full name. */
  readonly disk: string;
  readonly lun: number;
  readonly isOs: boolean;
  readonly sizeBytes: number;
  /** `host:port` of the DiskDataService that has it. */
  readonly dataAddress: string;
  /** Where it is a network block device, `unix:/path` or `tls://host:port`; empty if its host serves none. */
  readonly nbdAddress: string;
  /** Secret; ends with the next open, or with the close. */
  readonly accessToken: string;
  /** Whether this machine has had it open before since it was attached: then its own writes must be on it. */
  readonly isContinued: boolean;
}

/** The disks of a guest and its work on them. */
export interface GuestPlan {
  /** Unique id of the machine: a guest never reads the journal of an earlier machine of the same name. */
  readonly machineId: string;
  readonly guest: GuestKind;
  readonly disks: readonly GuestDisk[];
  readonly workload: Workload;
}

/** A part of a journal. */
export interface JournalPage {
  readonly entries: readonly JournalEntry[];
  /** Where the next page begins, also one that is read later. */
  readonly readTo: string;
  /** Whether nothing follows so far. */
  readonly isEnd: boolean;
  /** Whether what followed `after` is no longer kept. */
  readonly hasGap: boolean;
}

/** What the guests of one machine counted since the machine was made. At most a second old while a guest runs. */
export interface GuestIo {
  /** Reads, those that check what an earlier run wrote among them. */
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  /** Operations of all kinds that the disk service did not carry out. */
  readonly failures: number;
  /** Reads that did not return what was written. */
  readonly mismatches: number;
  /** The newest of them. */
  readonly newestMismatch?: ContentMismatch;
}

/** How a guest ended without a request. */
export type GuestEnd = 'GUEST_ENDED' | 'HOST_RESTARTED';

/** How a guest ended, with the text that it left, if any. */
export interface GuestEnding {
  readonly end: GuestEnd;
  readonly detail?: string;
}

/** A guest did not come up. The message is for the user of its machine. */
export class GuestStartError extends Error {
  override readonly name = 'GuestStartError';
}

/** How a guest is ended. */
export interface StopOrder {
  /** How long it may take to shut down; 0: it is killed at once (VM-42). */
  readonly graceMs: number;
  /** An access loss stops it: an operating system cannot shut down without its disks, so it is killed at once. */
  readonly isKeyLost?: boolean;
}

/** A guest that runs now. */
export interface RunningGuest {
  /** Full name of its machine. */
  readonly vm: string;
  /** Ends this guest at once, and never a later one of the same machine. Resolves once it is gone. */
  end(): Promise<void>;
}

/**
 * The host side of compute: it runs guests and owns their folder, and decides nothing. Calls for one machine may overlap: a
 * stop ends a start that is under way.
 */
export interface VmHost {
  /** False: nothing has to be shut down, so a machine is off as soon as that is decided. */
  readonly hasGuests: boolean;
  /** Resolves once the guest runs. @throws Error when it does not come up, or is stopped meanwhile */
  start(vm: string, plan: GuestPlan): Promise<void>;
  /** Resolves once the guest is gone, also if there was none. Never waits much longer than `graceMs`. */
  stop(vm: string, order: StopOrder): Promise<void>;
  /** Gives a running guest one more disk. @throws Error when there is no guest */
  attach(vm: string, disk: GuestDisk): Promise<void>;
  /** Takes a disk from a guest; nothing happens when there is no guest, or no such disk. */
  detach(vm: string, disk: string): Promise<void>;
  isRunning(vm: string): Promise<boolean>;
  /** Full names of the disks of a guest; none if it does not run. */
  disksOf(vm: string): Promise<readonly string[]>;
  /** What the guests of a machine counted; `undefined` if no guest of that id was started here. */
  ioOf(vm: string, machineId: string): Promise<GuestIo | undefined>;
  /** What its guests recorded after a place (`''`: from the oldest entry on); `undefined` if no guest of that id was started here. */
  journalOf(vm: string, machineId: string, after: string, limit: number): Promise<JournalPage | undefined>;
  /** Removes the files of a deleted machine. Its guest has ended. */
  forget(vm: string): Promise<void>;
  /** Every guest that runs, also those of an earlier process. */
  runningGuests(): Promise<readonly RunningGuest[]>;
  /** How a guest ended that no stop ended: by itself, or with its host. */
  endOf(vm: string): Promise<GuestEnding>;
  /** Calls `listener` with a machine whose guest ended without a stop: at least once, maybe late. */
  onEnded(listener: (vm: string) => void): void;
}
