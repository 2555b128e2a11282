import { setOperations } from '@interlock/access';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import { eventReader } from '@interlock/event-store';
import { type PublishedFact, type ToFact, unknownEvent } from '@interlock/messaging';
import type { Instant } from '@interlock/runtime';
import type { KeyEvent } from './key/events.ts';
import { keys, publishedWith } from './key/key.ts';
import { dateObstacle, withheldOf } from './key/usability.ts';
import { operationOnWire } from './key/wire.ts';
import { type KeyUrls, versionName } from './names.ts';
import type { VaultEvent } from './vault/events.ts';
import { servesTrusted } from './vault/network-rules.ts';
import { vaults } from './vault/vault.ts';
import { permissionModelOnWire, permissionOnWire } from './vault/wire.ts';

const vaultEvent = eventReader(vaults);
const keyEvent = eventReader(keys);

/**
 * The facts that key-vault publishes: every event that changes whether a key can be used. The access epoch of a fact is its
 * own position, so the epoch of a loss is above that of every earlier grant.
 */
export const toFact =
  (urls: KeyUrls): ToFact =>
  (recorded) => {
    const { position } = recorded;
    const ofVault = vaultEvent(recorded);
    if (ofVault) return factOf(vaultFact(`vaults/${ofVault.id}`, ofVault.event, position), ofVault.event.at);
    const ofKey = keyEvent(recorded);
    return ofKey ? factOf(keyFact(ofKey.id, ofKey.event, position, urls), ofKey.event.at) : null;
  };

type PublishedEvent = Exclude<KeyVaultEvent['event'], undefined>;

/** The type of a fact is the name of the message inside it. */
const factOf = (event: PublishedEvent | null, changedAt: Instant): PublishedFact | null =>
  event && {
    type: `${event.$case.charAt(0).toUpperCase()}${event.$case.slice(1)}`,
    payload: KeyVaultEvent.encode({ event, changeTime: new Date(changedAt) }).finish(),
  };

const time = (instant: Instant | undefined): Date | undefined =>
  instant === undefined ? undefined : new Date(instant);

const vaultFact = (vault: string, event: VaultEvent, accessEpoch: number): PublishedEvent | null => {
  switch (event.type) {
    case 'AccessPolicySet': {
      const { principal, permissions } = event;
      const keyPermissions = permissions.map((permission) => permissionOnWire[permission]);
      return { $case: 'accessPolicySet', value: { vault, principal, keyPermissions, accessEpoch } };
    }
    case 'AccessPolicyRemoved':
      return { $case: 'accessPolicyRemoved', value: { vault, principal: event.principal, accessEpoch } };
    case 'PermissionModelSet': {
      const permissionModel = permissionModelOnWire[event.permissionModel];
      return { $case: 'permissionModelSet', value: { vault, permissionModel, accessEpoch } };
    }
    case 'NetworkRulesSet': {
      const trustedServicesServed = servesTrusted(event.networkRules);
      return { $case: 'networkRulesSet', value: { vault, trustedServicesServed, accessEpoch } };
    }
    case 'GrantsChanged':
    case 'IdentityAnswerChanged': {
      const { principal, removed, key = '' } = event;
      return { $case: 'grantsChanged', value: { vault, key, principal, removed, accessEpoch } };
    }
    case 'VaultDeleted': {
      const scheduledPurgeTime = new Date(event.purgeAt);
      return { $case: 'vaultDeleted', value: { vault, scheduledPurgeTime, accessEpoch } };
    }
    case 'VaultRecovered':
      return { $case: 'vaultRecovered', value: { vault, accessEpoch } };
    case 'VaultPurged':
      return { $case: 'vaultPurged', value: { vault, accessEpoch } };
    case 'VaultCreated':
    case 'PurgeProtectionEnabled':
    case 'VaultPurgeStarted':
      return null;
    default:
      throw unknownEvent(event);
  }
};

const keyFact = (key: string, event: KeyEvent, accessEpoch: number, urls: KeyUrls): PublishedEvent | null => {
  const vault = key.split('/').slice(0, 2).join('/');
  const ofKey = { vault, key, accessEpoch };
  const ofVersion = (version: string) => ({ ...ofKey, keyVersion: versionName(key, version) });
  switch (event.type) {
    case 'KeyVersionCreated': {
      const { version, enabled } = event;
      const value = { ...ofVersion(version), keyUrl: urls.version(key, version), enabled };
      return { $case: 'keyVersionCreated', value };
    }
    case 'KeyVersionEnabled':
      return { $case: 'keyVersionEnabled', value: ofVersion(event.version) };
    case 'KeyVersionDisabled':
      return { $case: 'keyVersionDisabled', value: { ...ofVersion(event.version), reason: 'KEY_DISABLED' } };
    case 'KeyVersionDatesSet': {
      const { version, notBefore, expiresAt, at } = event;
      const reason =
        dateObstacle({ ...event, ...publishedWith(event, at) }, at)?.reason ?? 'KEY_ACCESS_REASON_UNSPECIFIED';
      const window = { notBefore: time(notBefore), expireTime: time(expiresAt) };
      return { $case: 'keyVersionDatesSet', value: { ...ofVersion(version), ...window, reason } };
    }
    case 'KeyOperationsSet': {
      const { version, operations } = event;
      const isTaken = withheldOf(event, setOperations).length > 0;
      const reason = isTaken ? 'ACCESS_DENIED' : 'KEY_ACCESS_REASON_UNSPECIFIED';
      const keyOperations = operations.map((operation) => operationOnWire[operation]);
      return { $case: 'keyOperationsSet', value: { ...ofVersion(version), keyOperations, reason } };
    }
    case 'KeyVersionExpired': {
      const value = { ...ofVersion(event.version), expireTime: new Date(event.expiresAt) };
      return { $case: 'keyExpired', value };
    }
    case 'KeyVersionBegan': {
      // Published as a change of dates after which the version can be used.
      const window = { notBefore: new Date(event.notBefore), expireTime: time(event.expiresAt) };
      const reason = 'KEY_ACCESS_REASON_UNSPECIFIED';
      return { $case: 'keyVersionDatesSet', value: { ...ofVersion(event.version), ...window, reason } };
    }
    case 'KeyVersionNearExpiry': {
      const value = { ...ofVersion(event.version), expireTime: new Date(event.expiresAt) };
      return { $case: 'keyNearExpiry', value };
    }
    case 'KeyDeleted':
      return { $case: 'keyDeleted', value: { ...ofKey, scheduledPurgeTime: new Date(event.purgeAt) } };
    case 'KeyRecovered':
    case 'KeyRestored':
      // A key restored from a backup is published like a recovered one.
      return { $case: 'keyRecovered', value: ofKey };
    case 'KeyPurged':
      return { $case: 'keyPurged', value: ofKey };
    case 'KeyVersionKeptDisabled':
    case 'KeyRotationPolicySet':
    case 'KeyTagsSet':
    case 'RewrapAuthorized':
    case 'RewrapAuthorizationsCancelled':
      return null;
    default:
      throw unknownEvent(event);
  }
};
