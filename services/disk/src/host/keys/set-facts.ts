import { FINAL_EPOCH, lossReasonOf } from '@interlock/access';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Cause, eventId } from '@interlock/event-store';
import type { IsStored } from '@interlock/messaging';
import { type Clock, traceIdOf } from '@interlock/runtime';
import type { KeyAccess, SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';
import type { Leases } from './leases.ts';
import type { LossTable, PublishedLoss } from './set-losses.ts';
import type { OptionTable, SetOptions } from './set-options.ts';

/** What the memory of a host has of the facts of one set. */
interface Known {
  /** Version of its newest fact in memory; later ones of a lower version are older. */
  readonly version: number;
  /** The newest fact that arrived as a message; undefined if the store had it. */
  readonly fact: Pick<Fact, 'stream' | 'position'> | undefined;
}

/** What `SetFacts` needs. */
interface SetFactsParts {
  readonly keyAccess: KeyAccess;
  readonly leases: Pick<Leases, 'isUsed'>;
  readonly options: SetOptions;
  readonly tables: { readonly losses: Pick<LossTable, 'list'>; readonly options: Pick<OptionTable, 'list'> };
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * The facts of disk encryption sets in the memory of one host. A lost key ends the use of every DEK under it at once; a restored one
 * can unwrap them again. They arrive as messages, which may be lost, late or repeated, and as the rows that the service stores, which
 * may be late. Facts of a set take effect in the order of their versions, and never an older one after a newer one. Applying a loss
 * before it is stored is safe.
 * Rules CMK-100, CMK-105, CMK-112, CMK-120.
 */
export class SetFacts {
  readonly #parts: SetFactsParts;
  readonly #known = new Map<string, Known>();
  /** The losses in force, by set and key version. */
  readonly #losses = new Map<string, Map<string, PublishedLoss>>();

  constructor(parts: SetFactsParts) {
    this.#parts = parts;
  }

  /** Applies a fact, unless a newer one of its set is in memory. */
  readonly apply = (fact: Fact, cause: Cause): void => {
    const { event } = DiskEncryptionSetEvent.decode(fact.payload);
    if (event === undefined || !('set' in event.value)) return;
    const { set } = event.value;
    if (fact.version <= (this.#known.get(set)?.version ?? -1)) return;
    this.#known.set(set, { version: fact.version, fact: { stream: fact.stream, position: fact.position } });
    this.#applyEvent(event, fact, cause);
  };

  /**
   * Makes memory equal to the rows, except for sets with newer messages in memory.
   * @returns whether there was no such set
   */
  readonly recall = async (isStored: IsStored): Promise<boolean> => {
    const { losses, options } = this.#parts.tables;
    let isWhole = true;
    const isOlder = (set: string): boolean => {
      const { fact } = this.#known.get(set) ?? {};
      const isOlderSet = fact === undefined || isStored(fact);
      isWhole &&= isOlderSet;
      return isOlderSet;
    };
    const ofSets = new Map<string, ReadonlyMap<string, PublishedLoss>>();
    for await (const { set, losses: stored } of losses.list()) ofSets.set(set, stored);
    for (const set of new Set([...this.#losses.keys(), ...ofSets.keys()])) {
      if (isOlder(set)) this.#recallLosses(set, ofSets.get(set) ?? new Map());
    }
    const isDifferent = new Set(this.#parts.options.publishedDifferent());
    for await (const { set, ...stored } of options.list()) {
      isDifferent.delete(set);
      if (isOlder(set)) this.#parts.options.published(set, stored);
    }
    // A row of options is removed only with its set.
    for (const set of isDifferent) if (isOlder(set)) this.#parts.options.forget(set);
    for (const [set, { fact }] of this.#known)
      if (fact !== undefined && isStored(fact)) this.#stored(set, ofSets.get(set));
    return isWhole;
  };

  #applyEvent(event: NonNullable<DiskEncryptionSetEvent['event']>, fact: Fact, cause: Cause): void {
    const { keyAccess, leases, options, clock } = this.#parts;
    switch (event.$case) {
      case 'keyAccessLost': {
        const { set, keyVersion } = event.value;
        const loss = publishedLoss(event.value, fact, cause, clock);
        if (loss) this.#lost({ set, keyVersion }, loss);
        return;
      }
      case 'keyAccessRestored': {
        const { set, keyVersion, accessEpoch } = event.value;
        this.#losses.get(set)?.delete(keyVersion);
        keyAccess.restored({ set, keyVersion }, accessEpoch);
        return;
      }
      case 'setDeleted': {
        const { set } = event.value;
        this.#losses.delete(set);
        options.forget(set);
        keyAccess.forget(set, (key) => leases.isUsed(key));
        return;
      }
      case 'setOptionsChanged':
        options.published(event.value.set, event.value);
        return;
      default:
    }
  }

  #lost(key: SetKeyVersion, loss: PublishedLoss): void {
    const losses = this.#losses.get(key.set) ?? new Map<string, PublishedLoss>();
    this.#losses.set(key.set, losses.set(key.keyVersion, loss));
    this.#parts.keyAccess.lost(key, loss, 'fact');
  }

  /** Makes the losses of a set those of its row. The order of applying the same losses again would not be theirs. */
  #recallLosses(set: string, stored: ReadonlyMap<string, PublishedLoss>): void {
    const losses = this.#losses.get(set) ?? new Map<string, PublishedLoss>();
    for (const [keyVersion, loss] of losses) {
      if (stored.has(keyVersion)) continue;
      losses.delete(keyVersion);
      // The epoch of its end is not stored. What the vault refused this host for it ends too, although a later change of the key may
      // have raised its epoch. If the vault refused for a newer loss, the set publishes that one, and meanwhile no grant counts that
      // was called for before the refusal.
      const refused = this.#parts.keyAccess.lossOf({ set, keyVersion });
      this.#parts.keyAccess.restored({ set, keyVersion }, Math.max(endedWith(loss), endedWith(refused)));
    }
    for (const [keyVersion, loss] of stored) {
      const known = losses.get(keyVersion);
      if (known === undefined || nameOf(known) !== nameOf(loss)) this.#lost({ set, keyVersion }, loss);
    }
    if (losses.size === 0 && stored.size === 0) this.#losses.delete(set);
    const version = Math.max(this.#known.get(set)?.version ?? -1, ...[...stored.values()].map(versionOf));
    if (version >= 0) this.#known.set(set, { version, fact: this.#known.get(set)?.fact });
  }

  /** The store has everything of the set that arrived as messages, so older messages are recognised by their positions. */
  #stored(set: string, losses: ReadonlyMap<string, PublishedLoss> = new Map()): void {
    const version = Math.max(-1, ...[...losses.values()].map(versionOf));
    if (version < 0) this.#known.delete(set);
    else this.#known.set(set, { version, fact: undefined });
  }
}

/** A loss as a set published it; undefined for an outage: each lease then runs to its end, and this host checks the vault itself. */
export const publishedLoss = (
  {
    reason: name,
    accessEpoch,
    since,
    principal,
    traceId,
  }: Extract<DiskEncryptionSetEvent['event'], { $case: 'keyAccessLost' }>['value'],
  fact: Pick<Fact, 'stream' | 'version'>,
  cause: Cause,
  clock: Pick<Clock, 'now'>,
): PublishedLoss | undefined => {
  const reason = lossReasonOf(name);
  if (!reason) return undefined;
  const { traceparent, correlationId } = cause;
  return {
    reason,
    accessEpoch,
    since: since?.getTime() ?? clock.now(),
    // The set may have found the loss by a check long afterwards, in another trace.
    traceId: traceId || (traceIdOf(traceparent) ?? ''),
    ...(traceparent === undefined ? {} : { traceparent }),
    event: eventId(fact.stream, fact.version),
    correlationId,
    ...(principal === undefined ? {} : { principal }),
  };
};

/** Equal for the same loss, as a message and as a row. */
const nameOf = ({ reason, accessEpoch, since }: PublishedLoss): string => `${reason} ${accessEpoch} ${since}`;

/** Up to which epoch losses are over with this one. That of a deleted identity, which no grant reaches, is no lower bound of grants. */
const endedWith = ({ accessEpoch = 0, principal }: Partial<LossFacts> = {}): number =>
  principal === undefined && accessEpoch < FINAL_EPOCH ? accessEpoch : 0;

/** Version of the event of a loss; -1 for a row of a release that did not store it. */
const versionOf = ({ event }: PublishedLoss): number => {
  const version = Number(event?.slice(event.lastIndexOf('@') + 1));
  return Number.isSafeInteger(version) ? version : -1;
};
