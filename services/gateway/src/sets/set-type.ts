import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type JsonObject, Rejection } from '@interlock/event-store';
import type { CallOptions } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionTypeOf, encryptionTypeShown } from '../cloud/encryption-types.ts';
import { type CloudNames, groupName, innerKeyUrl } from '../cloud/names.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { RestError } from '../errors/rest-error.ts';
import { refuseMove, requireLocation } from '../management/arm.ts';
import { readUntil } from '../operations/wait.ts';
import type { Records } from '../records/records.ts';
import type { PageQuery, ServiceCalls, ServicePage, ServiceType } from '../resource-types/service-type.ts';
import {
  type IdentityGiven,
  identityOf,
  isSettled,
  refuseUnsupported,
  SetBody,
  type SetGiven,
  setBody,
  sourceVaultOf,
} from './set-body.ts';

/** What sets need. */
export interface SetParts {
  readonly backends: Pick<Backends, 'sets'>;
  readonly names: CloudNames;
  readonly records: Records;
  readonly clock: Clock;
}

/** Disk encryption sets. */
export const setType = (parts: SetParts): ServiceType<DiskEncryptionSet, SetGiven> => ({
  collection: 'diskEncryptionSets',
  service: 'disk-encryption-set',
  family: 'DiskOperations',
  does: {
    put: 'Creates or updates a disk encryption set',
    patch: 'Updates a disk encryption set',
    get: 'Reads a disk encryption set',
    delete: 'Deletes a disk encryption set and its identity',
    list: 'disk encryption sets',
  },
  body: SetBody,
  calls: new SetCalls(parts),
  incarnationOf: ({ createTime }) => createTime?.toISOString() ?? '',
  stateOf: (set) => ({ provisioningState: isSettled(set) ? 'SUCCEEDED' : set.provisioningState }),
  namedBy: () => [],
  kept: (before, body, set) => withIdentity(withSourceVault(before, body), set, identityOf(body)),
  shown: (set, extras) => setBody(parts.names, set, extras),
});

class SetCalls implements ServiceCalls<DiskEncryptionSet, SetGiven> {
  readonly #parts: SetParts;

  constructor(parts: SetParts) {
    this.#parts = parts;
  }

  get(name: string, options: CallOptions): Promise<DiskEncryptionSet> {
    return this.#parts.backends.sets.getDiskEncryptionSet({ name }, options);
  }

  delete(name: string, options: CallOptions): Promise<unknown> {
    return this.#parts.backends.sets.deleteDiskEncryptionSet({ name }, options);
  }

  async list(page: PageQuery, options: CallOptions): Promise<ServicePage<DiskEncryptionSet>> {
    const found = await this.#parts.backends.sets.listDiskEncryptionSets(page, options);
    return { found: found.diskEncryptionSets, next: found.nextPageToken };
  }

  /** Creates the set, and waits for its identity. */
  async create(path: NamedPath, body: SetGiven, caller: Caller): Promise<DiskEncryptionSet> {
    const { backends, names } = this.#parts;
    refuseUnsupported(body);
    const identity = identityOf(body);
    const { activeKey, encryptionType, rotationToLatestKeyVersionEnabled } = body.properties ?? {};
    if (activeKey === undefined) throw missing('properties.activeKey');
    const options = caller.as('disk-encryption-set');
    const created = await backends.sets.createDiskEncryptionSet(
      {
        parent: groupName(names, path.subscription, path.group),
        diskEncryptionSetId: path.name.toLowerCase(),
        location: requireLocation(body.location),
        ...(encryptionType === undefined
          ? {}
          : { encryptionType: encryptionTypeOf(encryptionType, 'properties.encryptionType') }),
        keyUrl: keyUrlOf(names, activeKey),
        sourceVault: sourceVaultOf(activeKey),
        autoKeyRotationEnabled: rotationToLatestKeyVersionEnabled ?? false,
        userAssignedIdentity: await this.#principalOf(identity),
      },
      options,
    );
    const ready = await this.#settled(created.name, options);
    if (identity?.identityType !== 'NONE') return ready;
    return backends.sets.updateDiskEncryptionSet({ name: created.name, identityType: 'NONE' }, options);
  }

  /** The principal of a user-assigned identity; empty for another one. @throws RestError 404 */
  async #principalOf(identity: IdentityGiven | undefined): Promise<string> {
    if (identity?.identityType !== 'USER_ASSIGNED') return '';
    const record = await this.#parts.records.find(identity.id);
    if (record !== undefined) return `principals/${String(record.content.principal)}`;
    throw new RestError(404, 'ResourceNotFound', `The identity '${identity.id.slice(0, 500)}' was not found.`);
  }

  /** Changes what the body has and the set has not; what is absent stays. Waits until the disks have moved to another key. */
  async update(set: DiskEncryptionSet, body: SetGiven, caller: Caller): Promise<DiskEncryptionSet> {
    const { backends, names } = this.#parts;
    refuseUnsupported(body);
    refuseMove(body.location, set.location, set.name);
    const { activeKey, encryptionType, rotationToLatestKeyVersionEnabled: follows } = body.properties ?? {};
    const shownType = encryptionTypeShown(set.encryptionType);
    if (encryptionType !== undefined && encryptionType.toLowerCase() !== shownType.toLowerCase())
      throw fixed('encryptionType', shownType);
    const identity = identityOf(body);
    const options = caller.as('disk-encryption-set');
    const changes = {
      // Also if it has one: the service then changes nothing, and replaces an identity that was deleted.
      ...(identity === undefined
        ? {}
        : { identityType: identity.identityType, userAssignedIdentity: await this.#principalOf(identity) }),
      ...(follows !== undefined && follows !== set.autoKeyRotationEnabled ? { autoKeyRotationEnabled: follows } : {}),
    };
    if (Object.keys(changes).length > 0)
      await backends.sets.updateDiskEncryptionSet({ name: set.name, ...changes }, options);
    if (activeKey !== undefined) {
      const keyUrl = keyUrlOf(names, activeKey);
      // The key in use again changes nothing, whatever the state of the key.
      if (keyUrl !== set.activeKey?.keyUrl.toLowerCase())
        await backends.sets.assignKey({ name: set.name, keyUrl, sourceVault: sourceVaultOf(activeKey) }, options);
    }
    const settled = await this.#settled(set.name, options);
    return this.#moveAsOwner(settled, caller);
  }

  /**
   * What cannot move because its old version is disabled or deleted moves with the right of the caller to enable that version
   * (CMK-121). A caller without this right leaves it waiting.
   */
  async #moveAsOwner(set: DiskEncryptionSet, caller: Caller): Promise<DiskEncryptionSet> {
    if (set.rotation?.state !== 'WAITING') return set;
    const { token = '' } = caller.as('key-vault');
    const options = caller.as('disk-encryption-set');
    try {
      await this.#parts.backends.sets.resumeRotation({ name: set.name, keyOwnerToken: token }, options);
    } catch (error) {
      if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return set;
      throw error;
    }
    return this.#settled(set.name, options);
  }

  async #settled(name: string, options: CallOptions): Promise<DiskEncryptionSet> {
    return readUntil(this.#parts.clock, () => this.get(name, options), isSettled);
  }
}

/** The ARM ids of vaults, by their Interlock names: sets do not store the group of a vault. */
const withSourceVault = (content: JsonObject, { properties }: SetGiven): JsonObject => {
  const key = properties?.activeKey;
  const id = key?.sourceVault?.id;
  if (key === undefined || id === undefined) return content;
  return {
    ...content,
    sourceVaults: { ...(content.sourceVaults as JsonObject | undefined), [sourceVaultOf(key)]: id },
  };
};

/** The ARM id of the set's user-assigned identity, by its principal: the services do not store such ids. */
const withIdentity = (
  content: JsonObject,
  { identity }: DiskEncryptionSet,
  given: IdentityGiven | undefined,
): JsonObject =>
  given?.identityType === 'USER_ASSIGNED' && identity !== undefined
    ? { ...content, identities: { [identity.principal]: given.id } }
    : content;

/** @throws RestError 400 */
const keyUrlOf = (names: CloudNames, { keyUrl }: { readonly keyUrl: string }): string => {
  if (keyUrl === '') throw missing('properties.activeKey.keyUrl');
  return innerKeyUrl(names, keyUrl);
};

const missing = (field: string): RestError =>
  new RestError(400, 'InvalidParameter', `Required parameter '${field}' is missing (null).`, {
    details: [{ code: 'InvalidParameter', message: 'required', target: field }],
  });

const fixed = (property: string, value: string): RestError =>
  new RestError(409, 'PropertyChangeNotAllowed', `Changing property '${property}' is not allowed (it is ${value}).`, {
    details: [{ code: 'PropertyChangeNotAllowed', message: 'the property is fixed', target: property }],
  });
