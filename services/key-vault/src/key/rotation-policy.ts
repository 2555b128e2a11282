import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** A span of time: calendar months plus milliseconds. */
export interface Span {
  /** The ISO 8601 duration that it was read from. */
  readonly text: string;
  readonly months: number;
  readonly ms: number;
}

/** When a key is rotated, and how long its new versions are valid (KV-50). At most one of the two triggers. */
export interface RotationPolicy {
  readonly rotateAfterCreate?: Span;
  readonly rotateBeforeExpiry?: Span;
  readonly notifyBeforeExpiry?: Span;
  /** Validity of a version that a rotation makes. */
  readonly expiryTime?: Span;
}

/** Whether two policies say the same. */
export const isSamePolicy = (left: RotationPolicy | undefined, right: RotationPolicy | undefined): boolean =>
  (['rotateAfterCreate', 'rotateBeforeExpiry', 'notifyBeforeExpiry', 'expiryTime'] as const).every(
    (member) => left?.[member]?.text === right?.[member]?.text,
  );

/** A policy as callers write it: ISO 8601 durations, empty for none. */
export interface WrittenPolicy {
  readonly rotateAfterCreate: string;
  readonly rotateBeforeExpiry: string;
  readonly notifyBeforeExpiry: string;
  readonly expiryTime: string;
}

const dayMs = 86_400_000;
/** Notice before the expiry of a version where no policy says another time (KV-51). */
export const noticeDefault: Span = { text: 'P30D', months: 0, ms: 30 * dayMs };
/** Least days between the creation of a version and its rotation, and between its rotation and its expiry (KV-52). */
const rotateDaysMin = 7;
/** Least days that a version is valid (KV-52). */
const expiryDaysMin = 28;
/** Longest duration: 100 years. */
const daysMax = 36_500;

/** Days of a month, where durations are compared. */
const daysOfMonth = 30;

const form = /^P(?=\d)(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?$/i;

const refuse = (field: keyof WrittenPolicy, message: string): Rejection => {
  const snake = field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return new Rejection('INVALID_ARGUMENT', 'ROTATION_POLICY_INVALID', `${snake} ${message}`, { field: snake });
};

/** Days of a span; a month counts as 30. */
const daysOf = (text: string): number => {
  const [, years = 0, months = 0, weeks = 0, days = 0] = form.exec(text) ?? [];
  return (Number(years) * 12 + Number(months)) * daysOfMonth + Number(weeks) * 7 + Number(days);
};

/** @param dayLengthMs shorter in tests @throws Rejection INVALID_ARGUMENT ROTATION_POLICY_INVALID */
const spanOf = (written: WrittenPolicy, field: keyof WrittenPolicy, daysMin: number, dayLengthMs: number): Span => {
  const text = written[field].toUpperCase();
  const [, years = 0, months = 0, weeks = 0, days = 0] = form.exec(text) ?? [];
  const total = daysOf(text);
  if (!form.test(text) || total < daysMin || total > daysMax) {
    throw refuse(
      field,
      `must be an ISO 8601 duration of whole days from P${daysMin}D to P${daysMax}D, for example P90D or P2Y (got "${text.slice(0, 50)}")`,
    );
  }
  const wholeDays = Number(weeks) * 7 + Number(days);
  return { text, months: Number(years) * 12 + Number(months), ms: wholeDays * dayLengthMs };
};

/**
 * Reads a policy (KV-50 to KV-52). A policy with nothing but the default notice is accepted and counts as none.
 * @returns undefined for an empty policy
 * @throws Rejection INVALID_ARGUMENT ROTATION_POLICY_INVALID
 */
export const checkedPolicy = (written: WrittenPolicy, dayLengthMs = dayMs): RotationPolicy | undefined => {
  const read = (field: keyof WrittenPolicy, daysMin: number) =>
    written[field] === '' ? {} : { [field]: spanOf(written, field, daysMin, dayLengthMs) };
  const policy: RotationPolicy = {
    ...read('rotateAfterCreate', rotateDaysMin),
    ...read('rotateBeforeExpiry', rotateDaysMin),
    ...(isDefaultNotice(written) ? {} : read('notifyBeforeExpiry', 1)),
    ...read('expiryTime', expiryDaysMin),
  };
  const { rotateAfterCreate, rotateBeforeExpiry, notifyBeforeExpiry, expiryTime } = policy;
  if (rotateAfterCreate && rotateBeforeExpiry)
    throw refuse('rotateBeforeExpiry', 'must be empty where rotate_after_create is set: a key rotates at one time');
  if (expiryTime === undefined) {
    if (rotateBeforeExpiry) throw refuse('rotateBeforeExpiry', 'needs an expiry_time');
    if (notifyBeforeExpiry) throw refuse('notifyBeforeExpiry', 'needs an expiry_time');
  } else {
    const room = daysOf(expiryTime.text) - rotateDaysMin;
    for (const field of ['rotateAfterCreate', 'rotateBeforeExpiry', 'notifyBeforeExpiry'] as const) {
      const span = policy[field];
      if (span && daysOf(span.text) > (field === 'notifyBeforeExpiry' ? room + rotateDaysMin - 1 : room))
        throw refuse(
          field,
          `must leave ${rotateDaysMin} days of the expiry_time ${expiryTime.text} (got "${span.text}")`,
        );
    }
  }
  return Object.keys(policy).length === 0 ? undefined : policy;
};

const isDefaultNotice = ({ notifyBeforeExpiry, expiryTime }: WrittenPolicy): boolean =>
  expiryTime === '' && notifyBeforeExpiry.toUpperCase() === noticeDefault.text;

const moved = (at: Instant, { months, ms }: Span, sign: 1 | -1): Instant => {
  const date = new Date(at);
  const day = date.getUTCDate();
  date.setUTCMonth(date.getUTCMonth() + sign * months);
  // The 31st of a month without one is its last day.
  if (date.getUTCDate() !== day) date.setUTCDate(0);
  return date.getTime() + sign * ms;
};

/** The moment a span after another. */
export const after = (at: Instant, span: Span): Instant => moved(at, span, 1);
/** The moment a span before another. */
export const before = (at: Instant, span: Span): Instant => moved(at, span, -1);

/** What the times of a version follow from. */
interface Dated {
  readonly enabled: boolean;
  readonly createdAt: Instant;
  readonly expiresAt?: Instant;
}

/**
 * When the service rotates the key; undefined: never. A version that its owner disabled is not rotated: that would restore access.
 * @param current version of the key
 */
export const rotationTime = (policy: RotationPolicy | undefined, current: Dated): Instant | undefined => {
  if (policy === undefined || !current.enabled) return undefined;
  const { rotateAfterCreate, rotateBeforeExpiry } = policy;
  if (rotateAfterCreate) return after(current.createdAt, rotateAfterCreate);
  return rotateBeforeExpiry && current.expiresAt !== undefined
    ? before(current.expiresAt, rotateBeforeExpiry)
    : undefined;
};

/** When the service gives notice of the expiry of a version; undefined for one that does not expire. */
export const noticeTime = (policy: RotationPolicy | undefined, { expiresAt }: Pick<Dated, 'expiresAt'>) =>
  expiresAt === undefined ? undefined : before(expiresAt, policy?.notifyBeforeExpiry ?? noticeDefault);
