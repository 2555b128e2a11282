import { keyUrlOf } from './ids.ts';
import type { TwinNotes } from './notes.ts';
import { isObject, objectIn, objectsIn, type Row, type RowKind, textOf } from './rows.ts';

/** A property that says something about keys or encryption, and that a twin has not. */
interface IgnoredProperty {
  readonly property: string;
  readonly reason: string;
  isSet(row: Row): boolean;
}

const ade = 'Azure Disk Encryption, in the guest: a twin does not use it, so the loss of its key has no effect there';
const tenant = 'a twin has one tenant: its key is in a vault of that tenant';
const identities =
  'each set of a twin has an identity of its own, so the loss of a shared identity is not in its answers';
const reachable = 'a twin always reaches its vaults';

const properties: Readonly<Record<RowKind, readonly IgnoredProperty[]>> = {
  machine: [
    {
      property: 'securityProfile.encryptionAtHost',
      reason: 'a twin has no host caches and no temporary disks',
      isSet: (row) => objectIn(row, 'securityprofile').encryptionathost === true,
    },
    {
      property: 'securityProfile.encryptionIdentity',
      reason: ade,
      isSet: (row) => isFilled(objectIn(row, 'securityprofile').encryptionidentity),
    },
    {
      property: 'storageProfile.osDisk.encryptionSettings',
      reason: ade,
      isSet: (row) => isOn(objectIn(objectIn(objectIn(row, 'storageprofile'), 'osdisk'), 'encryptionsettings')),
    },
    {
      property: 'osProfile.secrets',
      reason: 'a twin has no certificates from vaults',
      isSet: (row) => isFilled(objectIn(row, 'osprofile').secrets),
    },
  ],
  disk: [
    {
      property: 'encryptionSettingsCollection',
      reason: ade,
      isSet: (row) => isOn(objectIn(row, 'encryptionsettingscollection')),
    },
  ],
  set: [
    { property: 'federatedClientId', reason: tenant, isSet: (row) => isFilled(row.federatedclientid) },
    {
      property: 'identity.userAssignedIdentities',
      reason: identities,
      isSet: (row) => isFilled(objectIn(row, 'identity').userassignedidentities),
    },
    {
      property: 'autoKeyRotationError',
      reason: 'the sets of a twin start without errors',
      isSet: (row) => isFilled(row.autokeyrotationerror),
    },
    {
      property: 'previousKeys',
      reason: 'they are other keys than the active one: in the twin all disks of the set are under the active key',
      isSet: (row) => {
        const of = (url: unknown) => {
          const found = keyUrlOf(textOf(url));
          return found === undefined ? '' : `${found.vault}/${found.key}`;
        };
        const active = of(objectIn(row, 'activekey').keyurl);
        return objectsIn(row, 'previouskeys').some(({ keyurl }) => of(keyurl) !== active);
      },
    },
  ],
  vault: [
    {
      property: 'accessPolicies',
      reason: 'in a twin each set may use its key',
      isSet: (row) => isFilled(row.accesspolicies),
    },
    {
      property: 'enablePurgeProtection: false',
      reason: 'the vaults of a twin have purge protection',
      isSet: (row) => hasProperties(row) && row.enablepurgeprotection !== true,
    },
    {
      property: 'softDeleteRetentionInDays',
      reason: 'a twin keeps deleted keys for 7 days',
      isSet: (row) => row.softdeleteretentionindays !== undefined && row.softdeleteretentionindays !== 7,
    },
    {
      property: 'networkAcls.defaultAction: Deny',
      reason: reachable,
      isSet: (row) => /^deny$/i.test(textOf(objectIn(row, 'networkacls').defaultaction)),
    },
    {
      property: 'publicNetworkAccess: Disabled',
      reason: reachable,
      isSet: (row) => /^disabled$/i.test(textOf(row.publicnetworkaccess)),
    },
  ],
  key: [{ property: 'releasePolicy', reason: 'a twin releases no keys', isSet: (row) => isFilled(row.releasepolicy) }],
};

/** Whether a row has the properties of a vault: those of `az keyvault list` do not. */
export const hasProperties = (row: Row): boolean => row.vaulturi !== undefined || row.sku !== undefined;

/** Notes the properties of a row that matter for keys and that the twin has not. @param name for the note */
export function noteIgnored(kind: RowKind, name: string, row: Row, notes: TwinNotes): void {
  for (const { property, reason, isSet } of properties[kind])
    if (isSet(row)) notes.ignore({ property, kind, name, reason });
}

const isFilled = (value: unknown): boolean => {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return Object.keys(value).length > 0;
  return value !== undefined && value !== '' && value !== false;
};

/** Settings that are there and not switched off. */
const isOn = (settings: Row): boolean => isFilled(settings) && settings.enabled !== false;
