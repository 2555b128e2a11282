import type {
  DiskEncryptionSet,
  KeyReference,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { JsonObject } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import { encryptionTypeShown } from '../cloud/encryption-types.ts';
import { type CloudNames, keyUrl } from '../cloud/names.ts';
import { armTypes, lastSegment, textForClients } from '../cloud/resource-names.ts';
import { keyCodes } from '../errors/answers.ts';
import { RestError } from '../errors/rest-error.ts';
import { TagsBody } from '../management/arm.ts';
import type { ResourceExtras } from '../management/resource-records.ts';
import { membersOf } from '../text/members.ts';

const KeyForDiskEncryptionSet = Type.Object({
  keyUrl: Type.String({ maxLength: 500 }),
  sourceVault: Type.Optional(Type.Object({ id: Type.Optional(Type.String({ maxLength: 500 })) })),
});

const SetProperties = Type.Object({
  activeKey: Type.Optional(KeyForDiskEncryptionSet),
  encryptionType: Type.Optional(Type.String()),
  rotationToLatestKeyVersionEnabled: Type.Optional(Type.Boolean()),
  federatedClientId: Type.Optional(Type.String()),
});

const IdentityBody = Type.Object({
  type: Type.Optional(Type.String()),
  userAssignedIdentities: Type.Optional(membersOf(Type.Unknown())),
});

/** A set in a PUT or PATCH. What is absent stays; read-only members are ignored (REST-30). */
export const SetBody = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
  identity: Type.Optional(IdentityBody),
  properties: Type.Optional(SetProperties),
});

export type SetGiven = Static<typeof SetBody>;

/** The identity that a body names. */
export type IdentityGiven =
  | { readonly identityType: 'SYSTEM_ASSIGNED' | 'NONE' }
  | { readonly identityType: 'USER_ASSIGNED' /** ARM id. */; readonly id: string };

/** The identity that a body names; undefined where it names none. @throws RestError 400 NotSupported */
export const identityOf = ({ identity }: SetGiven): IdentityGiven | undefined => {
  const type = identity?.type?.replaceAll(' ', '').toLowerCase();
  if (type === undefined) return undefined;
  if (type === 'systemassigned') return { identityType: 'SYSTEM_ASSIGNED' };
  if (type === 'none') return { identityType: 'NONE' };
  const ids = Object.keys(identity?.userAssignedIdentities ?? {});
  const [id] = ids;
  if (type === 'userassigned' && id !== undefined && ids.length === 1) return { identityType: 'USER_ASSIGNED', id };
  throw new RestError(
    400,
    'NotSupported',
    `identity.type must be SystemAssigned, None, or UserAssigned with one identity: a set has one identity at a time (got "${identity?.type?.slice(0, 100)}" with ${ids.length})`,
  );
};

/** @throws RestError 400 for what no set has here */
export const refuseUnsupported = ({ properties = {} }: SetGiven): void => {
  const { encryptionType, federatedClientId } = properties;
  if (encryptionType?.toLowerCase() === 'confidentialvmencryptedwithcustomerkey')
    throw new RestError(
      400,
      'NotSupported',
      `encryptionType ${encryptionType} is not supported: there are no confidential machines`,
    );
  if (federatedClientId !== undefined && federatedClientId.toLowerCase() !== 'none' && federatedClientId !== '')
    throw new RestError(400, 'NotSupported', 'federatedClientId is not supported: set and vault are in one tenant');
};

/** Interlock name of the vault that `sourceVault` names; empty where it names none. */
export const sourceVaultOf = (key: Static<typeof KeyForDiskEncryptionSet>): string => {
  const vault = key.sourceVault?.id?.split('/').findLast((segment) => segment !== '');
  return vault === undefined ? '' : `vaults/${vault.toLowerCase()}`;
};

/** Whether the set has reached the end of its last operation. A move that waits for its old key has ended for clients (CMK-83). */
export const isSettled = ({ provisioningState, rotation }: DiskEncryptionSet): boolean =>
  provisioningState === 'SUCCEEDED' || (provisioningState === 'UPDATING' && rotation?.state === 'WAITING');

const stateShown = (set: DiskEncryptionSet): string => {
  if (isSettled(set)) return 'Succeeded';
  const words: Readonly<Record<string, string>> = { CREATING: 'Creating', DELETING: 'Deleting', FAILED: 'Failed' };
  return words[set.provisioningState] ?? 'Updating';
};

/** The set as clients read it. */
export const setBody = (names: CloudNames, set: DiskEncryptionSet, extras: ResourceExtras): unknown => {
  const key = ({ keyVersion, sourceVault }: KeyReference) => ({
    ...(sourceVaultShown(sourceVault, extras.content) ?? {}),
    keyUrl: keyUrl(names, keyVersion),
  });
  const error = errorShown(names, set);
  return {
    id: extras.id,
    name: lastSegment(extras.id),
    type: armTypes.diskEncryptionSets,
    location: set.location,
    tags: extras.tags,
    identity: identityShown(names, set, extras.content),
    properties: {
      ...(set.activeKey === undefined ? {} : { activeKey: key(set.activeKey) }),
      previousKeys: set.previousKeys.map(key),
      encryptionType: encryptionTypeShown(set.encryptionType),
      rotationToLatestKeyVersionEnabled: set.autoKeyRotationEnabled,
      ...(set.lastKeyRotationTime && { lastKeyRotationTimestamp: set.lastKeyRotationTime.toISOString() }),
      ...(error && { autoKeyRotationError: error }),
      provisioningState: stateShown(set),
    },
  };
};

const sourceVaultShown = (vault: string, content: JsonObject) => {
  const ids = (content.sourceVaults ?? {}) as Readonly<Record<string, string>>;
  const id = ids[vault];
  return id === undefined ? undefined : { sourceVault: { id } };
};

const identityShown = (names: CloudNames, { identity }: DiskEncryptionSet, content: JsonObject): unknown => {
  if (identity === undefined || identity.principal === '') return { type: 'None' };
  const principalId = identity.principal.replace('principals/', '');
  if (identity.type === 'USER_ASSIGNED') {
    const id = String((content.identities as JsonObject | undefined)?.[identity.principal] ?? principalId);
    return { type: 'UserAssigned', userAssignedIdentities: { [id]: { principalId, clientId: principalId } } };
  }
  return {
    type: 'SystemAssigned',
    principalId,
    tenantId: names.tenants.shown(identity.tenant.replace('tenants/', '')),
  };
};

/** Why a set could not follow its key, or why its disks cannot move to its key. */
const errorShown = (names: CloudNames, { autoKeyRotationError, rotation }: DiskEncryptionSet) => {
  if (autoKeyRotationError !== undefined) {
    const { code, message } = autoKeyRotationError;
    return { code: keyCodes[code] ?? code, message: textForClients(names, message) };
  }
  if (rotation?.state !== 'WAITING') return undefined;
  const reason = rotation.waitingCode || rotation.waitingReason;
  const version = rotation.waitingForKeyVersion;
  const left = rotation.resourcesCount - rotation.doneCount;
  const hosts = rotation.waitingCode.startsWith('DISK_HOST_') ? rotation.unreachableDiskHosts.join(', ') : '';
  const blocker = hosts || (version === '' ? 'a key version' : keyUrl(names, version));
  const message = `${left} disks and snapshots wait for ${blocker} (${reason}). They move to the active key when it can be used.`;
  return { code: keyCodes[reason] ?? reason, message };
};
