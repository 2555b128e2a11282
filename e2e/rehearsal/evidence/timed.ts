import type { AccessReason } from '@interlock/access';
import type { CauseName } from '../../truth-table/causes.ts';

/** One way to lose a key and get it back, with a few machines that ran. */
export interface TimedLoss {
  readonly cause: CauseName;
  /** The reason their stop must have. */
  readonly reason: AccessReason;
  readonly machines: readonly TimedMachine[];
}

/** What became of one of them. Times are since it counted; NaN for what never happened. */
export interface TimedMachine {
  readonly name: string;
  /** Class of its only disk. */
  readonly sku: string;
  /** Reason the platform gave for stopping it; empty when it did not. */
  readonly reason: string;
  /** Since the loss: last read or write its guest saw succeed, and its stop. */
  readonly lastGoodIoAfterMs: number;
  readonly stoppedAfterMs: number;
  /** Since the way back was begun: its guest runs. */
  readonly runningAfterMs: number;
  /** Places its guest had written to before the loss. */
  readonly written: number;
  /** At how many of those it found what it had written, and how often it found something else. */
  readonly verified: number;
  readonly mismatched: number;
}

/** What `interlock impact` had said would come of disabling the key. Machines by their last segment. */
export interface ImpactSeen {
  readonly stops: readonly string[];
  readonly failsAtNextStart: readonly string[];
}

/** Every acknowledged byte of a disk that was compared with what its file holds. */
export interface DiskProof {
  /** Full name. */
  readonly disk: string;
  readonly bytes: number;
  /** SHA-256, hexadecimal, of what had been acknowledged, in the order of the disk. */
  readonly acknowledged: string;
  /** The same of what was found. */
  readonly found: string;
}
