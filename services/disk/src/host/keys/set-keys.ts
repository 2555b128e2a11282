import type {
  DiskEncryptionSet,
  DiskEncryptionSetServiceDefinition,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type Cause, CursorConflict, type CursorMove, type EventStore, Rejection, table } from '@interlock/event-store';
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

/**
 * The key in force of each set, and the barrier of its change. The set decides its key; this host stores which generation has
 * begun. The generation is a cursor: a commit that wrapped under an older generation fails, on any replica (CMK-86, CMK-88).
 */
export interface SetKeys {
  /**
   * Calls the set: whether a resource may be encrypted with it, and which key is in force.
   * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_DELETING, IDENTITY_DELETED;
   *   INVALID_ARGUMENT SUBSCRIPTION_MISMATCH, LOCATION_MISMATCH (CMK-52), ENCRYPTION_TYPE_MISMATCH (CMK-50)
   */
  forEncrypting(
    encryption: Extract<Encryption, { set: string }>,
    resource: { readonly name: string; readonly location: string },
    cause: Cause,
  ): Promise<SetKey>;
  /** The key in force; calls the set if no generation has begun here. */
  inForce(set: string, cause: Cause): Promise<SetKey>;
  /** Begins a generation unless a later one has begun. @returns what is in force then */
  begin(set: string, key: SetKey, cause: Cause): Promise<SetKey>;
  /** The generation that has begun here; 0 before the first. */
  begun(set: string): Promise<number>;
  /** A part of a commit: it fails with a `CursorConflict` unless this generation is in force. */
  guard(set: string, generation: number): CursorMove;
}

/** Opens the keys of sets. */
export const openSetKeys = (store: EventStore, sets: SetClient, options: Pick<SetOptions, 'note'>): SetKeys => {
  const rows = table<SetKey & { readonly set: string }>(store, { name: 'set_key', version: 1 });
  const cursorOf = (set: string): string => `generation:${set}`;

  const stored = async (set: string): Promise<SetKey | undefined> => {
    const row = await rows.get(set);
    return row && { principal: row.principal, keyVersion: row.keyVersion, generation: row.generation };
  };

  const begin: SetKeys['begin'] = async (set, key, cause) => {
    for (;;) {
      const from = await store.cursor(cursorOf(set));
      if (from >= key.generation) return (await stored(set)) ?? key;
      try {
        const row = rows.put(set, { set, ...key }, undefined);
        await store.commit({ rows: [row], cursors: [{ name: cursorOf(set), from, to: key.generation }] }, cause);
        return key;
      } catch (error) {
        // Another writer began a generation: look again.
        if (!(error instanceof CursorConflict)) throw error;
      }
    }
  };

  /** @param resource what needs the key; `''` for the set as a whole */
  const ask = async (set: string, resource: string) => {
    const found = await sets.getDiskEncryptionSet({ name: set });
    options.note(set, found);
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
        {
          field: 'encryption.disk_encryption_set',
          disk_encryption_set: set,
        },
      );
    }
    return { found, key };
  };

  /** By set: the call for its first key, shared by all who need it. */
  const beginning = new Map<string, Promise<SetKey>>();
  const first = async (set: string, cause: Cause): Promise<SetKey> => {
    const known = beginning.get(set);
    if (known) {
      return known.catch((error) => {
        // A refusal is the reply to all; but the first caller may have had no time left.
        if (isOfItsCall(error)) return first(set, cause);
        throw error;
      });
    }
    const begun = ask(set, '')
      .then(({ key }) => begin(set, key, cause))
      .finally(() => beginning.delete(set));
    beginning.set(set, begun);
    return begun;
  };

  return {
    begin,
    async forEncrypting({ type, set }, { name, location }, cause) {
      const mismatch = (reason: string, message: string): Rejection =>
        new Rejection('INVALID_ARGUMENT', reason, message, {
          field: 'encryption.disk_encryption_set',
          disk_encryption_set: set,
          resource: name,
        });
      if (subscriptionOf(set) !== subscriptionOf(name)) {
        throw mismatch('SUBSCRIPTION_MISMATCH', `${set} is in another subscription than ${name}`);
      }
      const { found, key } = await ask(set, name);
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
      return begin(set, key, cause);
    },
    async inForce(set, cause) {
      return (await stored(set)) ?? first(set, cause);
    },
    begun: (set) => store.cursor(cursorOf(set)),
    guard: (set, generation) => ({ name: cursorOf(set), from: generation, to: generation }),
  };
};

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
