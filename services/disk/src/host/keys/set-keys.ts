import type {
  DiskEncryptionSet,
  DiskEncryptionSetServiceDefinition,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import {
  type Cause,
  CursorConflict,
  type CursorMove,
  type EventStore,
  Rejection,
  type Table,
  table,
  withoutTracker,
} from '@interlock/event-store';
import { isSameRegion, type RpcClient, RpcFailure, subscriptionOf } from '@interlock/rpc';
import { type Encryption, encryptionTypeOnWire } from '../../disk/encryption.ts';
import { keyLost } from './key-reasons.ts';
import type { SetOptions } from './set-options.ts';

/** What disks need of disk encryption sets. */
export type SetClient = Pick<RpcClient<typeof DiskEncryptionSetServiceDefinition>, 'getDiskEncryptionSet'>;

/** The key for new wraps of a set, and the identity that calls the vault. */
export interface SetKey {
  /** `principals/<uuid>`. */
  readonly principal: string;
  readonly keyVersion: string;
  /** Rises with each key of the set, from 1. */
  readonly generation: number;
}

/** By generation: the event that began it. Headers of older ones may be found ahead of their events much later. */
type Begun = Readonly<Record<number, string>>;

/**
 * The key in force of each set, and the barrier of its change. The set decides its key; this host stores which generation has
 * begun. The generation is a cursor: a commit that wrapped under an older generation fails, on any replica (CMK-86, CMK-88).
 */
export class SetKeys {
  readonly #store: EventStore;
  readonly #sets: SetClient;
  readonly #options: Pick<SetOptions, 'note'>;
  readonly #rows: Table<SetKey & { readonly set: string; readonly begunBy: Begun }>;
  /** By set: the call for its first key, shared by all who need it. */
  readonly #first = new Map<string, Promise<SetKey>>();
  #listener: (set: string, key: SetKey) => void = () => undefined;

  constructor(store: EventStore, sets: SetClient, options: Pick<SetOptions, 'note'>) {
    this.#store = store;
    this.#sets = sets;
    this.#options = options;
    this.#rows = table(store, { name: 'set_key', version: 1 });
  }

  /**
   * Calls the set: whether a resource may be encrypted with it, and which key is in force.
   * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_DELETING, IDENTITY_DELETED;
   *   INVALID_ARGUMENT SUBSCRIPTION_MISMATCH, LOCATION_MISMATCH (CMK-52), ENCRYPTION_TYPE_MISMATCH (CMK-50)
   */
  async forEncrypting(
    { type, set }: Extract<Encryption, { set: string }>,
    { name, location }: { readonly name: string; readonly location: string },
    cause: Cause,
  ): Promise<SetKey> {
    const mismatch = (reason: string, message: string): Rejection =>
      new Rejection('INVALID_ARGUMENT', reason, message, {
        field: 'encryption.disk_encryption_set',
        disk_encryption_set: set,
        resource: name,
      });
    if (subscriptionOf(set) !== subscriptionOf(name)) {
      throw mismatch('SUBSCRIPTION_MISMATCH', `${set} is in another subscription than ${name}`);
    }
    const { found, key } = await this.#ask(set, name);
    if (!isSameRegion(found.location, location)) {
      throw mismatch(
        'LOCATION_MISMATCH',
        `${set} is in ${found.location}, ${name} in ${location}: they must be in one region`,
      );
    }
    if (found.encryptionType !== encryptionTypeOnWire[type]) {
      throw mismatch(
        'ENCRYPTION_TYPE_MISMATCH',
        `${set} is for ${found.encryptionType}: encryption.type of ${name} must say the same, not ${encryptionTypeOnWire[type]}`,
      );
    }
    return this.begin(set, key, cause);
  }

  /** The key in force; calls the set if no generation has begun here. */
  async inForce(set: string, cause: Cause): Promise<SetKey> {
    const key = (await this.#stored(set)) ?? (await this.#firstKey(set, cause));
    this.#listener(set, key);
    return key;
  }

  /** Calls the listener, in place of an earlier one, with each key in force that is read. An older one may arrive later. */
  listen(listener: (set: string, key: SetKey) => void): void {
    this.#listener = listener;
  }

  /**
   * Begins a generation unless a later one has begun.
   * @param event of the set that leads to it, if the set itself calls
   * @returns what is in force then
   */
  async begin(set: string, key: SetKey, cause: Cause, event?: string): Promise<SetKey> {
    for (;;) {
      const from = await this.begun(set);
      const before = await this.#rows.get(set);
      const isKnown = event === undefined || before?.begunBy[key.generation] !== undefined;
      if (from > key.generation || (from === key.generation && isKnown)) return keyIn(before) ?? key;
      const begunBy = { ...before?.begunBy, ...(event === undefined ? {} : { [key.generation]: event }) };
      try {
        const row = this.#rows.put(set, { set, ...key, begunBy }, undefined);
        await this.#store.commit({ rows: [row], cursors: [{ name: cursorOf(set), from, to: key.generation }] }, cause);
        return key;
      } catch (error) {
        // Another writer began a generation: read again.
        if (!(error instanceof CursorConflict)) throw error;
      }
    }
  }

  /** The generation that has begun here; 0 before the first. */
  begun(set: string): Promise<number> {
    return this.#store.cursor(cursorOf(set));
  }

  /** The cause of what moves to a generation: the event that began it, if that is known; else the given one. */
  async causeOf(set: string, generation: number, cause: Cause): Promise<Cause> {
    const id = set === '' ? undefined : (await this.#rows.get(set))?.begunBy[generation];
    return id === undefined ? cause : { ...withoutTracker(cause), causes: [{ id, kind: 'call' }] };
  }

  /** A part of a commit: it fails with a `CursorConflict` unless this generation is in force. */
  guard(set: string, generation: number): CursorMove {
    return { name: cursorOf(set), from: generation, to: generation };
  }

  async #stored(set: string): Promise<SetKey | undefined> {
    return keyIn(await this.#rows.get(set));
  }

  async #firstKey(set: string, cause: Cause): Promise<SetKey> {
    const known = this.#first.get(set);
    if (known) {
      return known.catch((error) => {
        // A refusal is the reply to all; but the first caller may have had no time left.
        if (isOfItsCall(error)) return this.#firstKey(set, cause);
        throw error;
      });
    }
    const first = this.#ask(set, '')
      .then(({ key }) => this.begin(set, key, cause))
      .finally(() => this.#first.delete(set));
    this.#first.set(set, first);
    return first;
  }

  /** @param resource what needs the key; `''` for the set as a whole */
  async #ask(set: string, resource: string) {
    const found = await this.#sets.getDiskEncryptionSet({ name: set });
    this.#options.note(set, found);
    const key = {
      principal: found.identity?.principal ?? '',
      keyVersion: found.activeKey?.keyVersion ?? '',
      generation: found.generation,
    };
    const isDeleting = found.provisioningState === 'DELETING';
    if (!isDeleting && found.identity?.type === 'NONE') refuseWithoutIdentity(found, resource);
    if (isDeleting || key.principal === '' || key.keyVersion === '') {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'DISK_ENCRYPTION_SET_DELETING',
        `${set} is being made or deleted: it cannot be used`,
        { field: 'encryption.disk_encryption_set', disk_encryption_set: set },
      );
    }
    return { found, key };
  }
}

const keyIn = (row: SetKey | undefined): SetKey | undefined =>
  row && { principal: row.principal, keyVersion: row.keyVersion, generation: row.generation };

/** Opens the keys of sets. */
export const openSetKeys = (...parts: ConstructorParameters<typeof SetKeys>): SetKeys => new SetKeys(...parts);

const cursorOf = (set: string): string => `generation:${set}`;

/** A set without an identity cannot call the vault (CMK-38). @throws Rejection IDENTITY_DELETED */
const refuseWithoutIdentity = ({ name: set, activeKey, keyAccess }: DiskEncryptionSet, resource: string): void => {
  const keyVersion = activeKey?.keyVersion ?? '';
  const loss = keyAccess.find((one) => one.keyVersion === keyVersion);
  if (loss?.reason !== 'IDENTITY_DELETED' || loss.since === undefined) return;
  const { reason, since, traceId } = loss;
  throw keyLost({ set, keyVersion, resource }, { reason, since: since.getTime(), traceId, accessEpoch: undefined });
};

const isOfItsCall = (error: unknown): boolean =>
  error instanceof RpcFailure && (error.code === 'CANCELLED' || error.code === 'DEADLINE_EXCEEDED');
