import type { BusFaults } from '@interlock/messaging';

/** How often calls between services go wrong: probabilities per call, 0 by default. May be changed while running. */
export interface CallFaults {
  /** The request does not arrive: the caller gets an error at once, or waits for its deadline. */
  loseRequest: number;
  /** The response does not arrive although the call took effect. */
  loseAnswer: number;
  /** The request, the response, or both are up to `delayMs` late. */
  delay: number;
  delayMs: number;
  /** An idempotent call is carried out twice, as by retries of a transport. */
  duplicate: number;
  /** An idempotent call to a VM host is carried out once more, up to `lateMs` later: a caller has given up an attempt that arrives. */
  late: number;
  lateMs: number;
}

/** Faults of a store: probabilities per call. */
export interface StoreFaults {
  /** A commit is not stored, and fails. */
  refuse: number;
  /** A commit is stored, and fails nevertheless. */
  storeAndFail: number;
  /** A commit is stored up to `delayMs` late while others overtake it, or acknowledged late while others already see it. */
  delay: number;
  delayMs: number;
  /** A read fails. */
  failRead: number;
  /** A wait for events wakes up to `delayMs` late. */
  lateWake: number;
}

/** Faults of the storage of volumes: probabilities per operation. */
export interface VolumeFaults {
  /** It is up to `delayMs` late before and after. */
  delay: number;
  delayMs: number;
  /** There is no room to create, write or grow (ENOSPC). The first sectors of a write may be written nevertheless. */
  full: number;
  /** A creation, write, growth, flush or removal fails (EIO). What a failed flush was to store may never be stored. */
  fail: number;
}

/** All random faults. Faults on command (a crash, a partition) are in `FaultControl`. */
export interface FaultRates {
  readonly calls: CallFaults;
  readonly stores: StoreFaults;
  readonly volumes: VolumeFaults;
  readonly bus: BusFaults;
}

export const noCallFaults = (): CallFaults => ({
  loseRequest: 0,
  loseAnswer: 0,
  delay: 0,
  delayMs: 50,
  duplicate: 0,
  late: 0,
  lateMs: 0,
});
export const noStoreFaults = (): StoreFaults => ({
  refuse: 0,
  storeAndFail: 0,
  delay: 0,
  delayMs: 20,
  failRead: 0,
  lateWake: 0,
});
export const noVolumeFaults = (): VolumeFaults => ({ delay: 0, delayMs: 20, full: 0, fail: 0 });
