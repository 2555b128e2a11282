import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyOperation, VersionAttributes } from './events.ts';

/** All operations of an RSA key in the order of the API: the default of a new version (KV-09). */
export const keyOperations: readonly KeyOperation[] = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey'];

/** Tags of one version, and characters of a tag's name or value (KV-10). */
const tagsMax = 15;
const tagLengthMax = 256;

const refuse = (reason: string, field: string, message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', reason, message, { field });

/**
 * The window of use in whole seconds (attributes are Unix seconds; fractions are cut off).
 * @throws Rejection INVALID_ARGUMENT EXPIRE_TIME_INVALID unless the end is after the start
 */
export const checkedDates = (
  notBefore: Date | undefined,
  expireTime: Date | undefined,
): Pick<VersionAttributes, 'notBefore' | 'expiresAt'> => {
  const start = wholeSeconds(notBefore);
  const end = wholeSeconds(expireTime);
  if (start !== undefined && end !== undefined && end <= start) {
    throw refuse('EXPIRE_TIME_INVALID', 'expire_time', 'expire_time must be at least a second after not_before');
  }
  return {
    ...(start === undefined ? {} : { notBefore: start }),
    ...(end === undefined ? {} : { expiresAt: end }),
  };
};

const wholeSeconds = (time: Date | undefined): Instant | undefined =>
  time === undefined ? undefined : Math.floor(time.getTime() / 1_000) * 1_000;

/** @throws Rejection INVALID_ARGUMENT TAGS_INVALID. Rule KV-10. */
export const checkedTags = (tags: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  const entries = Object.entries(tags);
  if (entries.length > tagsMax) {
    throw refuse('TAGS_INVALID', 'tags', `tags must be at most ${tagsMax}, not ${entries.length}`);
  }
  const wrong = entries.find(
    ([name, value]) => name === '' || name.length > tagLengthMax || value.length > tagLengthMax,
  );
  if (wrong) {
    const shown = wrong[0].slice(0, 40);
    throw refuse('TAGS_INVALID', 'tags', `tag "${shown}": name and value must have at most ${tagLengthMax} characters`);
  }
  return tags;
};
