import type { AccessReason } from '@interlock/access';
import type { TableCauseName } from '../../truth-table/causes.ts';

/** One way to lose a key and to restore access, with a few machines that ran. */
export interface TimedLoss {
  readonly cause: TableCauseName;
  /** The reason their stop must have. */
  readonly reason: AccessReason;
  readonly machines: readonly TimedMachine[];
}

/** The result of one of them. Each time has its own start; NaN for what did not happen. */
export interface TimedMachine {
  readonly name: string;
  /** Class of its only disk. */
  readonly sku: string;
  /** Reason the platform gave for stopping it; empty when it did not. */
  readonly reason: string;
  /** Since the loss: last read or write its guest saw succeed, and its stop. */
  readonly lastGoodIoAfterMs: number;
  readonly stoppedAfterMs: number;
  /** From the start of the restore until its guest runs. */
  readonly runningAfterMs: number;
  /** Places to which its guest wrote before the loss. */
  readonly written: number;
  /** At how many of those it found what it had written, and how often it found something else. */
  readonly verified: number;
  readonly mismatched: number;
}

/** What `interlock impact` predicted for disabling the key. Machines by their last segment. */
export interface ImpactSeen {
  readonly stops: readonly string[];
  readonly failsAtNextStart: readonly string[];
}

/** Every acknowledged byte of a disk, compared with its file. */
export interface DiskProof {
  /** Full name. */
  readonly disk: string;
  readonly bytes: number;
  /** SHA-256, in hexadecimal, of what was acknowledged, in the order of the disk. */
  readonly acknowledged: string;
  /** The same for what was found. */
  readonly found: string;
}
