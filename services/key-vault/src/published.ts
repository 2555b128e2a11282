import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import { eventReader } from '@interlock/event-store';
import { type ToFact, type ToldFact, unknownEvent } from '@interlock/messaging';
import type { Instant } from '@interlock/runtime';
import type { KeyEvent } from './key/events.ts';
import { keys, publishedWith } from './key/key.ts';
import { dateObstacle, diskOperations, withheldOf } from './key/usability.ts';
import { operationOnWire } from './key/wire.ts';
import { type KeyUrls, versionName } from './names.ts';
import type { VaultEvent } from './vault/events.ts';
import { vaults } from './vault/vault.ts';
import { permissionModelOnWire, permissionOnWire } from './vault/wire.ts';

const vaultEvent = eventReader(vaults);
const keyEvent = eventReader(keys);

/**
 * What other services hear of key-vault's events: everything that changes whether a key can be used. The access epoch of a
 * fact is its own position, so a loss has a number above every answer given before it (design: losses are numbered).
 */
export const toFact =
  (urls: KeyUrls): ToFact =>
  (recorded) => {
    const { position } = recorded;
    const ofVault = vaultEvent(recorded);
    if (ofVault) return vaultFact(`vaults/${ofVault.id}`, ofVault.event, position);
    const ofKey = keyEvent(recorded);
    return ofKey ? keyFact(ofKey.id, ofKey.event, position, urls) : null;
  };

type Told = Exclude<KeyVaultEvent['event'], undefined>;

/** The type of a fact is the name of the message inside it. */
const told = (event: Told): ToldFact => ({
  type: `${event.$case.charAt(0).toUpperCase()}${event.$case.slice(1)}`,
  payload: KeyVaultEvent.encode({ event }).finish(),
});

const time = (instant: Instant | undefined): Date | undefined =>
  instant === undefined ? undefined : new Date(instant);

const vaultFact = (vault: string, event: VaultEvent, accessEpoch: number): ToldFact | null => {
  switch (event.type) {
    case 'AccessPolicySet': {
      const { principal, permissions } = event;
      const keyPermissions = permissions.map((permission) => permissionOnWire[permission]);
      return told({ $case: 'accessPolicySet', value: { vault, principal, keyPermissions, accessEpoch } });
    }
    case 'AccessPolicyRemoved':
      return told({ $case: 'accessPolicyRemoved', value: { vault, principal: event.principal, accessEpoch } });
    case 'PermissionModelSet': {
      const permissionModel = permissionModelOnWire[event.permissionModel];
      return told({ $case: 'permissionModelSet', value: { vault, permissionModel, accessEpoch } });
    }
    case 'GrantsChanged': {
      const { principal, removed, key = '' } = event;
      return told({ $case: 'grantsChanged', value: { vault, key, principal, removed, accessEpoch } });
    }
    case 'IdentityAnswerChanged': {
      const { principal, removed, key } = event;
      return told({ $case: 'grantsChanged', value: { vault, key, principal, removed, accessEpoch } });
    }
    case 'VaultDeleted': {
      const scheduledPurgeTime = new Date(event.purgeAt);
      return told({ $case: 'vaultDeleted', value: { vault, scheduledPurgeTime, accessEpoch } });
    }
    case 'VaultRecovered':
      return told({ $case: 'vaultRecovered', value: { vault, accessEpoch } });
    case 'VaultPurged':
      return told({ $case: 'vaultPurged', value: { vault, accessEpoch } });
    case 'VaultCreated':
    case 'PurgeProtectionEnabled':
    case 'VaultPurgeStarted':
      return null;
    default:
      throw unknownEvent(event);
  }
};

const keyFact = (key: string, event: KeyEvent, accessEpoch: number, urls: KeyUrls): ToldFact | null => {
  const vault = key.split('/').slice(0, 2).join('/');
  const ofKey = { vault, key, accessEpoch };
  const ofVersion = (version: string) => ({ ...ofKey, keyVersion: versionName(key, version) });
  switch (event.type) {
    case 'KeyVersionCreated': {
      const { version, enabled } = event;
      const value = { ...ofVersion(version), keyUrl: urls.version(key, version), enabled };
      return told({ $case: 'keyVersionCreated', value });
    }
    case 'KeyVersionEnabled':
      return told({ $case: 'keyVersionEnabled', value: ofVersion(event.version) });
    case 'KeyVersionDisabled':
      return told({ $case: 'keyVersionDisabled', value: { ...ofVersion(event.version), reason: 'KEY_DISABLED' } });
    case 'KeyVersionDatesSet': {
      const { version, notBefore, expiresAt, at } = event;
      const reason =
        dateObstacle({ ...event, ...publishedWith(event, at) }, at)?.reason ?? 'KEY_ACCESS_REASON_UNSPECIFIED';
      const window = { notBefore: time(notBefore), expireTime: time(expiresAt) };
      return told({ $case: 'keyVersionDatesSet', value: { ...ofVersion(version), ...window, reason } });
    }
    case 'KeyOperationsSet': {
      const { version, operations } = event;
      const isTaken = withheldOf(event, diskOperations).length > 0;
      const reason = isTaken ? 'ACCESS_DENIED' : 'KEY_ACCESS_REASON_UNSPECIFIED';
      const keyOperations = operations.map((operation) => operationOnWire[operation]);
      return told({ $case: 'keyOperationsSet', value: { ...ofVersion(version), keyOperations, reason } });
    }
    case 'KeyVersionExpired': {
      const value = { ...ofVersion(event.version), expireTime: new Date(event.expiresAt) };
      return told({ $case: 'keyExpired', value });
    }
    case 'KeyVersionBegan': {
      // To everybody else that is a change of dates after which nothing is in the way.
      const window = { notBefore: new Date(event.notBefore), expireTime: time(event.expiresAt) };
      const reason = 'KEY_ACCESS_REASON_UNSPECIFIED';
      return told({ $case: 'keyVersionDatesSet', value: { ...ofVersion(event.version), ...window, reason } });
    }
    case 'KeyDeleted':
      return told({ $case: 'keyDeleted', value: { ...ofKey, scheduledPurgeTime: new Date(event.purgeAt) } });
    case 'KeyRecovered':
    case 'KeyRestored':
      // To everybody else a key restored from a backup is one that is back with all its versions.
      return told({ $case: 'keyRecovered', value: ofKey });
    case 'KeyPurged':
      return told({ $case: 'keyPurged', value: ofKey });
    case 'KeyVersionKeptDisabled':
    case 'KeyTagsSet':
    case 'RewrapAuthorized':
    case 'RewrapAuthorizationsCancelled':
      return null;
    default:
      throw unknownEvent(event);
  }
};
