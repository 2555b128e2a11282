import { type ClockReading, usableUntil } from '@interlock/runtime';

/**
 * A lease: the right of this host to use unwrapped DEKs of one (set, key version) for a time (G1).
 *
 *           granted                   time                    grace
 *   none ──────────▶ held ──────────────────▶ paused ──────────────────▶ counted as lost outside
 *                     │ ▲                       │  │
 *             refused │ └──────── granted ──────┘  │ refused
 *                     ▼                            │
 *                   lost ◀─────────────────────────┘      lost ── granted later, epoch no lower ──▶ held
 *
 * Also a lease that is counted as lost is held again once granted.
 *
 * A grant lasts `ttlMs` from before its call was sent. The vault decided after that moment, so after a loss at t0 no lease
 * lasts beyond t0 + ttl. A call without a reply adds nothing. Everything here is pure.
 */
export interface LeaseTerms {
  /** How long a grant lasts, in milliseconds; ≥ 1,000. */
  readonly ttlMs: number;
  /** How long reads and writes wait for an unreachable vault, in milliseconds. */
  readonly ioPauseTimeoutMs: number;
  /** How long after the end of a lease an unreachable vault counts as lost outside of this host, in milliseconds. */
  readonly unreachableGraceMs: number;
}

/** Defaults. */
export const leaseDefaults: LeaseTerms = { ttlMs: 60_000, ioPauseTimeoutMs: 30_000, unreachableGraceMs: 600_000 };

/** A call to the vault, before it is sent. */
export interface SentCall {
  /** Place in the order of all calls and messages of this host. */
  readonly order: number;
  readonly at: ClockReading;
}

/** A grant of the vault. */
export interface KeyGrant {
  readonly accessEpoch: number;
  readonly sent: SentCall;
  /** `principals/<uuid>`: the identity that called; undefined if it is not known. */
  readonly principal: string | undefined;
}

/** A call that was refused. */
export interface Refused extends SentCall {
  /** `principals/<uuid>`: the identity that called. */
  readonly principal: string;
}

/** Until when a grant allows the use of DEKs: by the clock that gets there first. */
export const endOf = ({ sent: { at } }: KeyGrant, ttlMs: number): ClockReading => usableUntil(at, ttlMs);

/** When a host checks again, all in milliseconds. */
export const pacing = {
  /** After a grant: between a third and half of its time, so that two or three replies can be lost without effect. */
  renewMs: (ttlMs: number, chance: number): number => ttlMs * (1 / 3 + chance / 6),
  /** After `failures` calls in a row without a reply. */
  retryMs: (ttlMs: number, failures: number, chance: number): number =>
    Math.min(ttlMs / 6, 5_000, Math.min(ttlMs / 24, 500) * 2 ** (failures - 1)) * (0.5 + chance / 2),
  /** After a refusal: rarely, because the owner changes it, and every open of a disk checks anyway. */
  lostMs: (ttlMs: number, chance: number): number => ttlMs * (0.5 + chance / 2),
  /** Deadline of one call: a slow reply still counts. */
  deadlineMs: (ttlMs: number): number => Math.min(10_000, ttlMs / 2),
  /** After a call that has no reply yet: the next call is sent beside it. */
  besideMs: (ttlMs: number): number => Math.min(2_500, ttlMs / 8),
};

/** Calls about one lease at once: a late reply must not delay the next call. */
const questionsMax = 3;

/** What a host knows about one lease when it decides the next step. */
export interface LeaseWatch {
  /** Milliseconds left of the newest grant; undefined without one. */
  readonly leftMs: number | undefined;
  /** Whether the end of the lease has been carried out. */
  readonly isEnded: boolean;
  /** Milliseconds until the unreachable vault counts as lost outside; undefined if it does already, or is reachable. */
  readonly outageInMs: number | undefined;
  /** Milliseconds until the next call is due. */
  readonly checkInMs: number;
  readonly questions: number;
}

/** The next step of a lease. */
export type LeaseStep =
  /** The time of the grant is over: DEKs are overwritten, I/O pauses. */
  | { readonly do: 'end' }
  /** The grace is over too. */
  | { readonly do: 'countAsLost' }
  | { readonly do: 'check' }
  | { readonly do: 'wait'; readonly forMs: number };

/** The longest wait if nothing is due: a timer of the system takes at most 24 days. */
const waitMsMax = 3_600_000;

/** Decides the next step. Ends come before calls, so that no call delays them. */
export const nextStep = (watch: LeaseWatch): LeaseStep => {
  const { leftMs: left, isEnded, outageInMs, checkInMs, questions } = watch;
  if (!isEnded && (left === undefined || left <= 0)) return { do: 'end' };
  if (outageInMs !== undefined && outageInMs <= 0) return { do: 'countAsLost' };
  if (checkInMs <= 0 && questions < questionsMax) return { do: 'check' };
  const waits = [
    waitMsMax,
    ...(isEnded || left === undefined ? [] : [left]),
    ...(outageInMs === undefined ? [] : [outageInMs]),
    ...(questions < questionsMax ? [checkInMs] : []),
  ];
  return { do: 'wait', forMs: Math.min(...waits) };
};
