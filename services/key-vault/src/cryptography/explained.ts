import { lossReasons, type RefusalFacts, refusalMetadata } from '@interlock/access';
import { type Category, type EventStore, Rejection } from '@interlock/event-store';
import { principalOf } from '@interlock/rpc';
import { type Clock, traceIdOf } from '@interlock/runtime';
import { StrangerRejection } from '../access/other-tenant.ts';
import type { AuditedCall } from '../audit/log.ts';
import { publishDates } from '../key/decider.ts';
import type { KeyEvent, KeyOperation } from '../key/events.ts';
import { expiredTimers, type Key, versionOf } from '../key/key.ts';
import { type VersionId, versionName } from '../names.ts';
import type { KeyPermission } from '../vault/events.ts';
import { findOrigin, type Seen } from './origin.ts';

/** Refusals that are a response about access; KEY_OPERATION_NOT_ALLOWED is one that a disk host reads as ACCESS_DENIED. */
const explainable: ReadonlySet<string> = new Set([...lossReasons, 'KEY_OPERATION_NOT_ALLOWED']);

/**
 * Judges a version and adds to a refusal what its reader needs (G10): `key_version`, `access_epoch`, and, if access existed
 * before, `since`, `trace_id` and `traceparent` of the commit that took it away.
 *
 * The epoch of a refusal is not below the number of the loss, also if the loss was committed while the state was read. It is
 * below the number of everything that the judgement did not see: else access restored in between would go unnoticed.
 *
 * @param observed the state that is judged: the head of the event feed before it was read, and the key and versions that were read
 */
export const explained = async <Value>(
  parts: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent>; readonly clock: Clock },
  id: VersionId,
  call: AuditedCall,
  observed: { readonly epoch: number; readonly seen: Seen; readonly key: Key },
  judge: () => Promise<Value>,
): Promise<Value> => {
  try {
    return await judge();
  } catch (error) {
    if (!(error instanceof Rejection && explainable.has(error.reason))) throw error;
    if (error instanceof StrangerRejection) throw error;
    const { code, reason, message, metadata } = error;
    const version = id.version ?? metadata.key_version?.split('/versions/')[1];
    const { state, seen } = await (reason === 'KEY_EXPIRED' && version !== undefined
      ? publishExpiry(parts, id.key, version, call, observed)
      : { state: observed.key, seen: observed.seen });
    const isOfNetwork = metadata.network !== undefined;
    const isWithheld =
      reason === 'KEY_OPERATION_NOT_ALLOWED' || (reason === 'ACCESS_DENIED' && !metadata.permission && !isOfNetwork);
    const origin = await findOrigin(parts.store, {
      ...id,
      seen,
      state,
      reason,
      version,
      principal: principalOf(call).name,
      permissions: (metadata.permission?.split(',') ?? []) as KeyPermission[],
      isOfNetwork,
      operations: (isWithheld ? (metadata.operation?.split(',') ?? []) : []) as KeyOperation[],
    });
    throw new Rejection(
      code,
      reason,
      message,
      {
        ...metadata,
        ...(version === undefined ? { key: id.key } : { key_version: versionName(id.key, version) }),
        ...refusalMetadata({
          accessEpoch: Math.max(observed.epoch, origin?.position ?? 0),
          since: origin?.since,
          ...traceOf(origin?.traceparent),
          event: origin?.event,
          correlationId: origin?.correlationId,
        }),
      },
      { cause: error },
    );
  }
};

const traceOf = (traceparent: string | undefined): Pick<RefusalFacts, 'traceId' | 'traceparent'> | undefined => {
  const traceId = traceIdOf(traceparent);
  return traceId === undefined ? undefined : { traceId, traceparent };
};

/**
 * Publishes an expiry that a use finds before the timer does: a refusal without a number could not be compared with a grant.
 * @returns the key with the published expiry, which counts as seen: it is committed only while the version is expired, so its
 *   number is true for the refusal, whatever was committed before it
 */
const publishExpiry = async (
  { keys, clock }: { readonly keys: Category<Key, KeyEvent>; readonly clock: Clock },
  key: string,
  version: string,
  call: AuditedCall,
  observed: { readonly seen: Seen; readonly key: Key },
): Promise<{ readonly state: Key; readonly seen: Seen }> => {
  let { state } = await keys.load(key);
  if (versionOf(state, version)?.isExpiryPublished === false) {
    ({ state } = await keys.transact(key, publishDates(clock.now()), call.cause, { timer: expiredTimers }));
  }
  const expired = versionOf(state, version)?.ends.expired;
  if (expired === undefined) return { state: observed.key, seen: observed.seen };
  return { state, seen: { ...observed.seen, keyVersion: Math.max(observed.seen.keyVersion, expired.by) } };
};
