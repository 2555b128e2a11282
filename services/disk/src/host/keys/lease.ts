import { type ClockReading, usableUntil } from '@interlock/runtime';

/**
 * A lease: the right of this host to use unwrapped DEKs of one (set, key version) for a time (G1).
 *
 *             yes                     time                    grace
 *   none ──────────▶ held ──────────────────▶ paused ──────────────────▶ counted as lost outside
 *                     │ ▲                       │  │
 *                  no │ └────────── yes ────────┘  │ no
 *                     ▼                            │
 *                   lost ◀─────────────────────────┘      lost ── yes, asked later, epoch no lower ──▶ held
 *
 * A yes is worth `ttlMs` from before its question was sent: whatever the vault decided, it decided after that moment, so a
 * loss at t0 finds no lease that lasts beyond t0 + ttl. Silence adds nothing. Everything here is pure.
 */
export interface LeaseTerms {
  /** How long a yes is worth, in milliseconds; ≥ 1,000. */
  readonly ttlMs: number;
  /** How long reads and writes wait for an answer of a silent vault, in milliseconds. */
  readonly ioPauseTimeoutMs: number;
  /** After how much silence beyond the end of a lease a vault counts as lost outside of this host, in milliseconds. */
  readonly unreachableGraceMs: number;
}

/** What applies where nothing else is said. */
export const leaseDefaults: LeaseTerms = { ttlMs: 60_000, ioPauseTimeoutMs: 30_000, unreachableGraceMs: 600_000 };

/** A question to the vault, before it is sent. */
export interface Asked {
  /** Place among everything this host has asked and heard. */
  readonly order: number;
  readonly at: ClockReading;
}

/** A yes of the vault. */
export interface KeyGrant {
  readonly accessEpoch: number;
  readonly asked: Asked;
  /** `principals/<uuid>`: who was told yes; undefined where that is not known. */
  readonly principal: string | undefined;
}

/** A question that was refused. */
export interface Refused extends Asked {
  /** `principals/<uuid>`: who was told no. */
  readonly principal: string;
}

/** Up to when a yes lets DEKs be used: by whichever clock comes there first. */
export const endOf = ({ asked: { at } }: KeyGrant, ttlMs: number): ClockReading => usableUntil(at, ttlMs);

/** How a host asks again, all in milliseconds. */
export const pacing = {
  /** After a yes: between a third and half of its worth, so that two or three answers can be lost without any effect. */
  renewMs: (ttlMs: number, chance: number): number => ttlMs * (1 / 3 + chance / 6),
  /** After `failures` questions in a row without an answer. */
  retryMs: (ttlMs: number, failures: number, chance: number): number =>
    Math.min(ttlMs / 6, 5_000, Math.min(ttlMs / 24, 500) * 2 ** (failures - 1)) * (0.5 + chance / 2),
  /** After a no: rarely, for it is the owner who changes it, and whoever opens a disk asks anyhow. */
  lostMs: (ttlMs: number, chance: number): number => ttlMs * (0.5 + chance / 2),
  /** How long one question may take: also a slow answer is one. */
  deadlineMs: (ttlMs: number): number => Math.min(10_000, ttlMs / 2),
  /** After a question without an answer so far: the next one is sent beside it. */
  besideMs: (ttlMs: number): number => Math.min(2_500, ttlMs / 8),
};

/** Questions about one lease under way at once: an answer that is late must not keep the next question from being asked. */
const questionsMax = 3;

/** What a host knows about one lease when it looks for what to do next. */
export interface LeaseWatch {
  /** Milliseconds the newest yes is still worth; undefined without one. */
  readonly leftMs: number | undefined;
  /** Whether what the end of the lease brings about is done. */
  readonly isEnded: boolean;
  /** Milliseconds until the silence counts as a loss outside; undefined where it does already, or there is none. */
  readonly outageInMs: number | undefined;
  /** Milliseconds until the next question is due. */
  readonly askInMs: number;
  readonly questions: number;
}

/** What to do next about a lease. */
export type LeaseStep =
  /** The time of the yes is over: DEKs are overwritten, I/O pauses. */
  | { readonly do: 'end' }
  /** The grace is over as well. */
  | { readonly do: 'countAsLost' }
  | { readonly do: 'ask' }
  | { readonly do: 'wait'; readonly forMs: number };

/** Also where nothing is due before an answer comes: a timer of the system takes no longer time than 24 days. */
const waitMsMax = 3_600_000;

/** Decides it. Ends come before questions, so that nothing that takes time delays them. */
export const nextStep = (watch: LeaseWatch): LeaseStep => {
  const { leftMs: left, isEnded, outageInMs, askInMs, questions } = watch;
  if (!isEnded && (left === undefined || left <= 0)) return { do: 'end' };
  if (outageInMs !== undefined && outageInMs <= 0) return { do: 'countAsLost' };
  if (askInMs <= 0 && questions < questionsMax) return { do: 'ask' };
  const waits = [
    waitMsMax,
    ...(isEnded || left === undefined ? [] : [left]),
    ...(outageInMs === undefined ? [] : [outageInMs]),
    ...(questions < questionsMax ? [askInMs] : []),
  ];
  return { do: 'wait', forMs: Math.min(...waits) };
};
