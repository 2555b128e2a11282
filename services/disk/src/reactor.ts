import { lossReasonOf } from '@interlock/access';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { eventId } from '@interlock/event-store';
import { type Effect, type FactContext, type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import type { KeyAccess } from './host/keys/key-access.ts';
import type { Leases } from './host/keys/leases.ts';
import type { LossTable } from './host/keys/set-losses.ts';
import type { SetOptions } from './host/keys/set-options.ts';

/**
 * How disk reacts to the facts of disk encryption sets: a lost key ends the use of every DEK under it at once; a restored one
 * can unwrap them again. Each fact changes one row and one entry in memory, whether one disk is under the key or a fleet;
 * nothing is written per disk. Memory changes before the row is stored: refusing early is safe, and all is idempotent.
 * Rules CMK-100, CMK-105, CMK-112, CMK-120.
 */
export const reactions = (parts: {
  readonly losses: LossTable;
  readonly keyAccess: KeyAccess;
  readonly leases: Pick<Leases, 'isUsed'>;
  readonly options: Pick<SetOptions, 'published' | 'forgotten'>;
  readonly clock: Pick<Clock, 'now'>;
}): Handlers => {
  const { losses, keyAccess, leases, options, clock } = parts;
  return {
    KeyAccessLost: async (fact, { cause }) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'keyAccessLost') return NO_EFFECT;
      const { set, keyVersion, reason: name, accessEpoch, since, principal, traceId } = event.value;
      const reason = lossReasonOf(name);
      // An outage is no loss here: each lease runs to its end, and this host checks the vault itself.
      if (!reason) return NO_EFFECT;
      const loss = {
        reason,
        accessEpoch,
        since: since?.getTime() ?? clock.now(),
        // The set may have found the loss by a check long afterwards, in another trace.
        traceId: traceId || traceIdOf(cause),
        ...(cause.traceparent === undefined ? {} : { traceparent: cause.traceparent }),
        event: eventId(fact.stream, fact.version),
        correlationId: cause.correlationId,
        ...(principal === undefined ? {} : { principal }),
      };
      keyAccess.lost({ set, keyVersion }, loss, 'fact');
      return { rows: [await losses.lost({ set, keyVersion }, loss)] };
    },
    KeyAccessRestored: async (fact) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'keyAccessRestored') return NO_EFFECT;
      const { set, keyVersion, accessEpoch } = event.value;
      keyAccess.restored({ set, keyVersion }, accessEpoch);
      return effectOf(await losses.restored({ set, keyVersion }));
    },
    SetDeleted: async (fact) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'setDeleted') return NO_EFFECT;
      const { set } = event.value;
      keyAccess.forget(set, (key) => leases.isUsed(key));
      return effectOf(await losses.forgotten(set), await options.forgotten(set));
    },
    SetOptionsChanged: async (fact) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'setOptionsChanged') return NO_EFFECT;
      return effectOf(await options.published(event.value.set, event.value));
    },
  };
};

const eventOf = (fact: Fact): DiskEncryptionSetEvent => DiskEncryptionSetEvent.decode(fact.payload);

const effectOf = (...changes: readonly (NonNullable<Effect['rows']>[number] | undefined)[]): Effect => {
  const rows = changes.flatMap((row) => row ?? []);
  return rows.length === 0 ? NO_EFFECT : { rows };
};

/** The trace id of a W3C trace context; `''` without one. */
const traceIdOf = ({ traceparent }: FactContext['cause']): string => traceparent?.split('-')[1] ?? '';
