import { DiskEvent } from '@interlock/contracts/interlock/disk/v1/disk_events.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import type { Category, Loaded } from '@interlock/event-store';
import { type Effect, type Handlers, NO_EFFECT } from '@interlock/messaging';
import { type Clock, DomainAttribute, traceIdOf } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { KeyStops } from './key-stops.ts';
import type { Losses } from './losses.ts';
import type { Vm } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';
import { keyAccessReturned } from './vm/key-loss.ts';
import { lossReasonOf } from './vm/machine.ts';
import { diskKeyChanged } from './vm/progress.ts';

/**
 * What compute does about the facts of disk encryption sets: a lost key stops machines, a returned one is no longer shown,
 * and what a deleted set lost is forgotten.
 */
export const setReactor = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly stops: KeyStops;
  readonly losses: Losses;
  readonly clock: Clock;
}): Handlers => {
  const { vms, stops, losses, clock } = parts;
  return {
    async KeyAccessLost(fact, { cause, signal }) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'keyAccessLost') throw misfit(fact.type);
      const { set, keyVersion, accessEpoch, since, partial: isPartial } = event.value;
      const reason = lossReasonOf(event.value.reason);
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
        traceId: traceIdOf(fact.traceparent) ?? '',
        accessEpoch,
      };
      await stops.stopFor({ loss, isPartial }, cause, signal);
      return NO_EFFECT;
    },
    async KeyAccessRestored(fact, { cause }) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'keyAccessRestored') throw misfit(fact.type);
      const { set, keyVersion } = event.value;
      const ofSet = await vms.listAll({ index: { index: 'set', value: set } });
      const decision = keyAccessReturned(clock.now(), set, keyVersion);
      const blocked = ofSet.filter(({ state }) => decision(state).length > 0).map(({ id }) => id);
      await vms.transactMany(blocked, (state) => decision(state), cause);
      return NO_EFFECT;
    },
    async SetDeleted(fact) {
      const { event } = DiskEncryptionSetEvent.decode(fact.payload);
      if (event?.$case !== 'setDeleted') throw misfit(fact.type);
      return { rows: await losses.forgotten(event.value.set) };
    },
  };
};

/** What compute does about the facts of disks: it remembers under which key each of its disks is. */
export const diskReactor = (parts: { readonly vms: Category<Vm, VmEvent>; readonly clock: Clock }): Handlers => {
  const { vms, clock } = parts;
  const keyChanged = async (changed: {
    readonly disk: string;
    readonly set: string;
    readonly keyVersion: string;
  }): Promise<Effect> => {
    const { items } = await vms.list({ index: { index: 'disk', value: changed.disk }, limit: 1 });
    const prepared = items.map((vm: Loaded<Vm>) => vms.prepare(vm, diskKeyChanged(clock.now(), changed)));
    return { appends: prepared.flatMap(({ append }) => append ?? []), rows: prepared.flatMap(({ row }) => row ?? []) };
  };
  return {
    async DiskEncryptionChanged(fact) {
      const { event } = DiskEvent.decode(fact.payload);
      if (event?.$case !== 'diskEncryptionChanged') throw misfit(fact.type);
      const { disk, encryption, keyVersion } = event.value;
      return keyChanged({ disk, set: encryption?.diskEncryptionSet ?? '', keyVersion });
    },
    async DekRewrapped(fact) {
      const { event } = DiskEvent.decode(fact.payload);
      if (event?.$case !== 'dekRewrapped') throw misfit(fact.type);
      const { resource, diskEncryptionSet, keyVersion } = event.value;
      return keyChanged({ disk: resource, set: diskEncryptionSet, keyVersion });
    },
  };
};

const misfit = (type: string): Error => new Error(`the payload of a ${type} is another message`);
