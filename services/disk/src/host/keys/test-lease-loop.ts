import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { lossReasonIn } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { createKeyAccess } from './key-access.ts';
import { vaultUnreachable } from './key-reasons.ts';
import type { KeyGrant, SentCall } from './lease.ts';
import type { LeaseUser } from './lease-user.ts';
import { openLeases } from './leases.ts';
import type { ReportedLoss } from './loss-reports.ts';

/** Times of the leases, in milliseconds. */
export const terms = { ttlMs: 12_000, ioPauseTimeoutMs: 3_000, unreachableGraceMs: 20_000 };
/** How long a lease lasts after a grant, in milliseconds. */
export const { ttlMs } = terms;
/** The key of every user. */
export const key = { set: 'set', keyVersion: 'one' };
/** The identity that unwraps. */
export const principal = 'principals/one';
const use = { ...key, resource: '' };
/** A vault that does not reply. */
export const silent = (): Error =>
  vaultUnreachable(use, new Rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE', 'no connection'));
/** A loss of the key. */
export const lossOf = (accessEpoch: number) =>
  ({ reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch }) as const;

/** The lease loop, with users that record what is done to them and a vault that the test controls. */
export const startLoop = () => {
  const clock = virtualClock();
  const keyAccess = createKeyAccess(clock, { ttlMs });
  const ending = new AbortController();
  const logged: string[] = [];
  /** When the vault was called, and through which user. */
  const sent: { readonly atMs: number; readonly by: string }[] = [];
  /** The current report to compute about each key. */
  const reported = new Map<string, { readonly loss: ReportedLoss; readonly reportedBy: string }>();
  let answer: (by: string) => Error | number = () => 4;
  let delayMs = 0;
  const leases = openLeases({
    keyAccess,
    options: { outlivesExpiry: () => false, confirm: () => assert.fail('no set needs a confirmation') },
    sets: { getDiskEncryptionSet: () => assert.fail('no set is asked') },
    reports: {
      about: ({ keyVersion }: typeof key, loss: ReportedLoss | undefined, reportedBy?: string) => {
        if (loss === undefined) reported.delete(keyVersion);
        else reported.set(keyVersion, { loss, reportedBy: reportedBy ?? '' });
      },
    },
    terms,
    clock,
    random: seededRandom(7),
    log: logger({ service: 'test', clock, write: (line) => logged.push(line) }),
    tracer: trace.getTracer('test'),
    signal: ending.signal,
  });
  const grantOf = (accessEpoch: number, question: SentCall = keyAccess.nextCall()): KeyGrant => ({
    accessEpoch,
    sent: question,
    principal,
  });
  /** A user of the key. @param unwrapped its grant */
  const userOf = (name: string, unwrapped: KeyGrant | undefined, isPinnable = false) => {
    const dropped: string[] = [];
    let grant = unwrapped;
    const user: LeaseUser = {
      name,
      isPinnable,
      accessEpoch: unwrapped?.accessEpoch ?? 3,
      grant: () => grant,
      drop(why) {
        dropped.push(why);
        grant = undefined;
      },
      async probe() {
        sent.push({ atMs: clock.monotonicMs(), by: name });
        const question = keyAccess.nextCall();
        if (delayMs > 0) await clock.sleep(delayMs);
        const said = answer(name);
        if (lossReasonIn(said) !== undefined)
          keyAccess.lost(key, { ...lossOf(9), reason: 'KEY_DELETED' }, { ...question, principal });
        if (said instanceof Error) throw said;
        keyAccess.granted(key, grantOf(said, question), 'unwrapped');
      },
    };
    return { user, dropped };
  };
  const pass = (ms: number) => clock.drive(clock.sleep(ms));
  const settled = async () => {
    for (let turn = 0; turn < 8; turn += 1) await nextTurn();
  };
  return {
    clock,
    keyAccess,
    leases,
    sent,
    reported,
    logged,
    grantOf,
    userOf,
    pass,
    settled,
    only: () => leases.list()[0],
    setVault: (next: (by: string) => Error | number, slowMs = 0) => {
      answer = next;
      delayMs = slowMs;
    },
    /** Intervals between calls to the vault, from that call on, in ms. */
    waitsFrom: (first: number) => sent.slice(first + 1).map(({ atMs }, n) => atMs - (sent[first + n]?.atMs ?? 0)),
    stop: () => ending.abort(),
  };
};
