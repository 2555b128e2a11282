import type { Instant } from '@interlock/runtime';
import type { KeyOperation, VersionAttributes } from './events.ts';

/** When access ended, and the event that ended it. */
export interface Ended {
  readonly since: Instant;
  /** Version of the event in the stream of the key. */
  readonly by: number;
}

/** What ended access to a version, by the reason of the refusal. A reason that does not apply is absent. */
export interface VersionEnds {
  readonly disabled?: Ended;
  readonly notYetValid?: Ended;
  readonly expired?: Ended;
  /** The operations that the version does not allow. */
  readonly withheld: Readonly<Partial<Record<KeyOperation, Ended>>>;
  /** The event that set the end date, and its time. */
  readonly expirySet: Ended;
}

type Attributes = Pick<VersionAttributes, 'enabled' | 'notBefore' | 'expiresAt' | 'operations'>;
type Before = Attributes & { readonly ends: VersionEnds };

const allOperations: readonly KeyOperation[] = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey'];

/** The ends of a version that is created or restored. @param by version of the event in the stream of the key */
export const firstEnds = (attributes: Attributes, at: Instant, by: number): VersionEnds => {
  const now = { since: at, by };
  const { enabled, notBefore, expiresAt } = attributes;
  return {
    ...(enabled ? {} : { disabled: now }),
    ...(notBefore !== undefined && notBefore > at ? { notYetValid: now } : {}),
    ...(expiresAt !== undefined && expiresAt <= at ? { expired: now } : {}),
    withheld: withheldSince({}, attributes, now),
    expirySet: now,
  };
};

/** Disabled or enabled. */
export const withEnabled = ({ disabled: _disabled, ...ends }: VersionEnds, disabled: Ended | undefined): VersionEnds =>
  disabled === undefined ? ends : { ...ends, disabled };

/** Other operations: an operation that was not allowed before keeps its end. */
export const withOperations = (ends: VersionEnds, attributes: Pick<Attributes, 'operations'>, now: Ended) => ({
  ...ends,
  withheld: withheldSince(ends.withheld, attributes, now),
});

/** The published end date has come. */
export const withExpiry = (ends: VersionEnds, expiresAt: Instant, by: number): VersionEnds => ({
  ...ends,
  expired: ends.expired ?? { since: expiresAt, by },
});

/** Other dates. Dates that keep the version unusable for the same reason do not change when that began, nor by what. */
export const withDates = (
  before: Before,
  { notBefore, expiresAt }: Pick<Attributes, 'notBefore' | 'expiresAt'>,
  now: Ended,
): VersionEnds => {
  const { notYetValid, expired: _expired, ...ends } = before.ends;
  const { since: at } = now;
  const wasEarly = before.notBefore !== undefined && before.notBefore > at;
  const isEarly = notBefore !== undefined && notBefore > at;
  const isExpired = expiresAt !== undefined && expiresAt <= at;
  return {
    ...ends,
    ...(isEarly ? { notYetValid: (wasEarly ? notYetValid : undefined) ?? now } : {}),
    ...(isExpired ? { expired: expiryOf(before, at) ?? now } : {}),
    expirySet: now,
  };
};

/** When a version expired, and by what, if it has at `now`: also if its expiry is not published yet. */
export const expiryOf = ({ expiresAt, ends }: Pick<Before, 'expiresAt' | 'ends'>, now: Instant): Ended | undefined => {
  if (ends.expired !== undefined) return ends.expired;
  if (expiresAt === undefined || expiresAt > now) return undefined;
  return { since: Math.max(expiresAt, ends.expirySet.since), by: ends.expirySet.by };
};

const withheldSince = (
  known: VersionEnds['withheld'],
  { operations }: Pick<Attributes, 'operations'>,
  now: Ended,
): VersionEnds['withheld'] =>
  Object.fromEntries(
    allOperations.flatMap((one) => (operations.includes(one) ? [] : [[one, known[one] ?? now] as const])),
  );
