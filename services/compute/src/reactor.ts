import { accessReasonOf } from '@interlock/access';
import { DiskEvent } from '@interlock/contracts/interlock/disk/v1/disk_events.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import type { EventStore } from '@interlock/event-store';
import { type Handlers, NO_EFFECT } from '@interlock/messaging';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { KeyReturns } from './losses/key-returns.ts';
import type { KeyStops } from './losses/key-stops.ts';
import type { Losses } from './losses/losses.ts';
import type { SetOptions } from './losses/set-options.ts';
import { endedWith } from './vm/key-return.ts';

/**
 * Consumes the facts of disk encryption sets: an access loss stops machines; restored access is shown, and starts machines whose
 * set wants that; the losses of a deleted set are removed.
 */
export const setReactor = (parts: {
  readonly store: EventStore;
  readonly stops: KeyStops;
  readonly returns: KeyReturns;
  readonly losses: Losses;
  readonly options: SetOptions;
  readonly clock: Clock;
}): Handlers => {
  const { store, stops, returns, losses, options, clock } = parts;
  return {
    async KeyAccessLost(fact, { cause, signal }) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'keyAccessLost') throw misfit(fact.type);
      const { set, keyVersion, accessEpoch, since, partial: isPartial, principal, traceId } = event.value;
      const reason = accessReasonOf(event.value.reason);
      if (!reason) throw new Error(`a loss must have a reason, not ${event.value.reason}`);
      trace.getActiveSpan()?.setAttributes({
        [DomainAttribute.diskEncryptionSet]: set,
        [DomainAttribute.keyVersion]: keyVersion,
        [DomainAttribute.reason]: reason,
      });
      const loss = {
        reason,
        set,
        keyVersion,
        since: since?.getTime() ?? fact.eventTime?.getTime() ?? clock.now(),
        // The fact itself may be published long after the loss.
        traceId: traceId || (traceIdOf(fact.traceparent) ?? ''),
        accessEpoch,
        ...(principal === undefined ? {} : { principal }),
      };
      await stops.stopFor({ loss, isPartial }, cause, signal);
      // Another replica may already have handled the end of this loss. Undo it here; nothing later will.
      if (await losses.isOver(loss)) await returns.returned({ set, keyVersion, ends: endedWith(loss) }, cause);
      return NO_EFFECT;
    },
    async KeyAccessRestored(fact, { cause }) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'keyAccessRestored') throw misfit(fact.type);
      const { set, keyVersion, accessEpoch } = event.value;
      // Stored before the pass over machines: if access to two keys of a machine is restored at once, one pass sees the other.
      const rows = await losses.rowsForRestored(set, keyVersion, accessEpoch);
      if (rows.length > 0) await store.commit({ rows }, cause);
      await returns.returned({ set, keyVersion, ends: accessEpoch }, cause);
      return NO_EFFECT;
    },
    async SetOptionsChanged(fact) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'setOptionsChanged') throw misfit(fact.type);
      const { set, autoRestart } = event.value;
      return { rows: [options.put(set, { autoRestart })] };
    },
    async SetDeleted(fact) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'setDeleted') throw misfit(fact.type);
      const { set } = event.value;
      return { rows: [...(await losses.rowsForDeleted(set)), options.remove(set)] };
    },
  };
};

/** Consumes the facts of disks: it stores the key of each disk, and a disk under another key may unblock its machine. */
export const diskReactor = ({ returns }: { readonly returns: KeyReturns }): Handlers => {
  return {
    async DiskEncryptionChanged(fact, { cause }) {
      const { event } = DiskEvent.decode(fact.payload);
      if (event?.$case !== 'diskEncryptionChanged') throw misfit(fact.type);
      const { disk, encryption, keyVersion } = event.value;
      const set = encryption?.diskEncryptionSet ?? '';
      await returns.moved({ disk, set, keyVersion, diskVersion: fact.version }, cause);
      return NO_EFFECT;
    },
    async DekRewrapped(fact, { cause }) {
      const { event } = DiskEvent.decode(fact.payload);
      if (event?.$case !== 'dekRewrapped') throw misfit(fact.type);
      const { resource, diskEncryptionSet, keyVersion } = event.value;
      const changed = { disk: resource, set: diskEncryptionSet, keyVersion, diskVersion: fact.version };
      await returns.moved(changed, cause);
      return NO_EFFECT;
    },
  };
};

const misfit = (type: string): Error => new Error(`the payload of a ${type} is another message`);
