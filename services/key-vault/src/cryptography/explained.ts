import { lossReasons, type RefusalFacts, refusalMetadata } from '@interlock/access';
import { type Category, type EventStore, Rejection } from '@interlock/event-store';
import { principalOf } from '@interlock/rpc';
import { type Clock, traceIdOf } from '@interlock/runtime';
import { StrangerRejection } from '../access/stranger.ts';
import type { AuditedCall } from '../audit/log.ts';
import { publishDates } from '../key/decider.ts';
import type { KeyEvent, KeyOperation } from '../key/events.ts';
import { type Key, versionOf } from '../key/key.ts';
import { type VersionId, versionName } from '../names.ts';
import type { KeyPermission } from '../vault/events.ts';
import { findOrigin, type Seen } from './origin.ts';

/** Refusals that are an answer about access; KEY_OPERATION_NOT_ALLOWED is one that a disk host reads as ACCESS_DENIED. */
const explainable: ReadonlySet<string> = new Set([...lossReasons, 'KEY_OPERATION_NOT_ALLOWED']);

/**
 * Judges about a version; a refusal leaves with all a reader needs to act on it (G10): `key_version`, `access_epoch`,
 * and, where access was there before, `since`, `trace_id` and `traceparent` of the commit that took it away.
 *
 * The epoch of a refusal is no lower than the number of the loss, also where the loss was committed while the state was
 * being read; an answer given after the return of access has one no lower than the return's predecessor. So a host that
 * compares the two is never wrong about which came first.
 *
 * What was committed after the state was read had no part in the refusal: with a number of that it would pass for an answer
 * to it, and a return that came in between would never be noticed.
 *
 * @param sight what the judgement is about: the head of the event feed from before the state was read, and the versions read
 */
export const explained = async <Value>(
  parts: { readonly store: EventStore; readonly keys: Category<Key, KeyEvent>; readonly clock: Clock },
  id: VersionId,
  call: AuditedCall,
  { epoch, seen }: { readonly epoch: number; readonly seen: Seen },
  judge: () => Promise<Value>,
): Promise<Value> => {
  try {
    return await judge();
  } catch (error) {
    if (!(error instanceof Rejection && explainable.has(error.reason))) throw error;
    if (error instanceof StrangerRejection) throw error;
    const { code, reason, message, metadata } = error;
    const version = id.version ?? metadata.key_version?.split('/versions/')[1];
    if (reason === 'KEY_EXPIRED' && version !== undefined) await tellEnd(parts, id.key, version, call);
    const isWithheld = reason === 'KEY_OPERATION_NOT_ALLOWED' || (reason === 'ACCESS_DENIED' && !metadata.permission);
    const origin = await findOrigin(parts.store, {
      ...id,
      seen,
      reason,
      version,
      principal: principalOf(call).name,
      permissions: (metadata.permission?.split(',') ?? []) as KeyPermission[],
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
          accessEpoch: Math.max(epoch, origin?.position ?? 0),
          since: origin?.since,
          ...traceOf(origin?.traceparent),
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

/** An end met before the timer told it gets its number here: a refusal without one could not be compared with a yes. */
const tellEnd = async (
  { keys, clock }: { readonly keys: Category<Key, KeyEvent>; readonly clock: Clock },
  key: string,
  version: string,
  call: AuditedCall,
): Promise<void> => {
  const { state } = await keys.load(key);
  if (versionOf(state, version)?.isExpiryPublished === false)
    await keys.transact(key, publishDates(clock.now()), call.cause);
};
