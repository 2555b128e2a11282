import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Effect, type Handler, type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import { publishedLoss, type SetFacts } from './host/keys/set-facts.ts';
import type { LossTable } from './host/keys/set-losses.ts';
import type { OptionTable } from './host/keys/set-options.ts';

/**
 * How disk reacts to the facts of disk encryption sets: it stores the losses and options in force, for every host. Each fact changes
 * one row, whether one disk is under the key or a fleet; nothing is written per disk. A host that consumes facts itself applies them
 * to its memory before the row is stored: refusing early is safe, and all is idempotent.
 * Rules CMK-100, CMK-105, CMK-112, CMK-120.
 */
export const reactions = (parts: {
  readonly losses: LossTable;
  readonly options: OptionTable;
  readonly apply: SetFacts['apply'];
  readonly clock: Pick<Clock, 'now'>;
}): Handlers => {
  const { losses, options, apply, clock } = parts;
  const applied =
    (handler: Handler): Handler =>
    (fact, context) => {
      apply(fact, context.cause);
      return handler(fact, context);
    };
  return {
    KeyAccessLost: applied(async (fact, { cause }) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'keyAccessLost') return NO_EFFECT;
      const loss = publishedLoss(event.value, fact, cause, clock);
      return loss ? { rows: [await losses.lost(event.value, loss)] } : NO_EFFECT;
    }),
    KeyAccessRestored: applied(async (fact) => {
      const { event } = eventOf(fact);
      return event?.$case === 'keyAccessRestored' ? effectOf(await losses.restored(event.value)) : NO_EFFECT;
    }),
    SetDeleted: applied(async (fact) => {
      const { event } = eventOf(fact);
      if (event?.$case !== 'setDeleted') return NO_EFFECT;
      const { set } = event.value;
      return effectOf(await losses.forgotten(set), await options.forgotten(set));
    }),
    SetOptionsChanged: applied(async (fact) => {
      const { event } = eventOf(fact);
      return event?.$case === 'setOptionsChanged'
        ? effectOf(await options.published(event.value.set, event.value))
        : NO_EFFECT;
    }),
  };
};

const eventOf = (fact: Fact): DiskEncryptionSetEvent => DiskEncryptionSetEvent.decode(fact.payload);

const effectOf = (...changes: readonly (NonNullable<Effect['rows']>[number] | undefined)[]): Effect => {
  const rows = changes.flatMap((row) => row ?? []);
  return rows.length === 0 ? NO_EFFECT : { rows };
};
