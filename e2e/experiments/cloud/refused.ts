import { lossReasonIn } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { RefusalRecord } from '@interlock/lab';

/** Set and key version of an operation on a key itself: its refusal may not name them. */
export type KeyOfOperation = Pick<RefusalRecord, 'set' | 'keyVersion'>;

const noKey: KeyOfOperation = { set: '', keyVersion: '' };

/** A refusal because a set cannot use its key, as an outcome of a user's operation; undefined for any other error. */
export const refusalIn = (error: unknown, atMs: number, key: KeyOfOperation = noKey): RefusalRecord | undefined => {
  const reason = lossReasonIn(error);
  if (!(error instanceof Rejection) || reason === undefined) return undefined;
  const { message, metadata } = error;
  const { disk_encryption_set: set = key.set, key_version: keyVersion = key.keyVersion } = metadata;
  return { atMs, reason, set, keyVersion, message };
};

/**
 * Waits for operations of a user that run at the same time.
 * @returns those that were refused because of a key
 * @throws the first other failure, after all have ended
 */
export const refusedOf = async (
  operations: readonly Promise<unknown>[],
  now: () => number,
): Promise<readonly RefusalRecord[]> => {
  const outcomes = await Promise.all(
    operations.map((one) =>
      one.then(
        () => undefined,
        (error: unknown) => ({ error, refused: refusalIn(error, now()) }),
      ),
    ),
  );
  const failed = outcomes.find((one) => one !== undefined && one.refused === undefined);
  if (failed !== undefined) throw failed.error;
  return outcomes.flatMap((one) => one?.refused ?? []);
};
