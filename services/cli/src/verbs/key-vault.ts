import { Service } from '../request/schema.ts';
import {
  takesByDates,
  takesByModel,
  takesByNetwork,
  takesByPolicy,
  takesNamed,
  takesOperations,
  takesWholePolicy,
} from './access-taken.ts';
import { addPermissions, keepDates } from './before.ts';
import { holdNote } from './notes.ts';
import { policyPrincipals } from './principals.ts';
import { named, nounOf, type Target, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('key-vault', Service.keyVault, name);
const vault = noun('vault');
const key = noun('key');
const audit = noun('audit');
const hold = noun('hold');
const platform = noun('platform');

const newKey: readonly Target[] = [{ word: 'vault/key', kind: 'key', parent: 'parent', idField: 'key_id' }];
const oneVault = named('vault', 'vault');
const oneKey = named('vault/key', 'key');
const oneVersion = named('vault/key[/version]', 'keyVersion');
/** For settings of one version: several versions need a choice. */
const onlyVersion = named('vault/key[/version]', 'onlyVersion');
const use = named('vault/key[/version]', 'keyOrVersion');

/**
 * The RPCs of key-vault. Where a version is needed, a key means its current version; for settings that disks depend on, for
 * its only version. `enable` and `disable` act on the whole key unless a version is named.
 */
export const keyVaultVerbs: readonly Verb[] = [
  vault('create', 'CreateVault', {
    targets: [{ word: 'id', field: 'vault_id' }],
    required: ['resource-group', 'location'],
    defaults: { resource_group: 'group' },
  }),
  vault('show', 'GetVault', { targets: oneVault, principals: policyPrincipals }),
  vault('list', 'ListVaults', {
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  vault('enable-purge-protection', 'EnablePurgeProtection', { targets: oneVault }),
  vault('grant', 'SetAccessPolicy', {
    targets: oneVault,
    required: ['principal', 'permissions'],
    aliases: { permissions: 'access_policy.key_permissions' },
    switches: { replace: 'removes the permissions of the principal that are not named; without it they stay' },
    before: addPermissions,
    takesAccess: takesByPolicy,
  }),
  vault('revoke', 'RemoveAccessPolicy', {
    required: ['principal'],
    targets: [...oneVault, { word: 'principal', field: 'principal', kind: 'principal', optional: true }],
    takesAccess: takesWholePolicy,
  }),
  vault('set-permission-model', 'SetPermissionModel', {
    targets: [...oneVault, { word: 'model', field: 'permission_model' }],
    kinds: { confirm_name: 'vault' },
    takesAccess: takesByModel,
  }),
  vault('set-network-rules', 'SetNetworkRules', {
    targets: oneVault,
    kinds: { confirm_name: 'vault' },
    takesAccess: takesByNetwork,
  }),
  vault('delete', 'DeleteVault', {
    targets: oneVault,
    kinds: { confirm_name: 'vault' },
    takesAccess: takesNamed('DELETE'),
  }),
  vault('recover', 'RecoverVault', { targets: oneVault }),
  vault('purge', 'PurgeVault', {
    targets: oneVault,
    kinds: { confirm_name: 'vault' },
    takesAccess: takesNamed('PURGE'),
  }),

  key('create', 'CreateKey', {
    targets: newKey,
    aliases: { size: 'key_size_bits' },
    required: ['size'],
    // 0 means the default to the service, and is no size to a user.
    choices: { key_size_bits: ['2048', '3072', '4096'] },
    defaults: { request_id: 'uuid' },
  }),
  key('import', 'ImportKey', {
    targets: newKey,
    required: [['pem-file', 'jwk-file']],
    defaults: { request_id: 'uuid' },
  }),
  key('show', 'GetKey', { targets: oneKey }),
  key('list', 'ListKeys', { targets: named('vault', 'vault', 'parent') }),
  key('version', 'GetKeyVersion', { targets: use }),
  key('versions', 'ListKeyVersions', { targets: named('vault/key', 'key', 'parent') }),
  key('enable', 'EnableKey', { targets: use, versionMethod: 'EnableKeyVersion' }),
  key('disable', 'DisableKey', {
    targets: use,
    versionMethod: 'DisableKeyVersion',
    takesAccess: takesNamed('DISABLE'),
  }),
  key('set-dates', 'SetKeyVersionDates', {
    targets: onlyVersion,
    required: [['not-before', 'expire-time', 'clear']],
    switches: { clear: 'removes the dates that are not named; without it they stay' },
    before: keepDates,
    takesAccess: takesByDates,
  }),
  key('set-operations', 'SetKeyOperations', {
    targets: onlyVersion,
    required: ['operations'],
    aliases: { operations: 'key_operations' },
    takesAccess: takesOperations,
  }),
  key('set-tags', 'SetKeyTags', { targets: oneVersion }),
  key('rotate', 'RotateKey', { targets: oneKey, defaults: { request_id: 'uuid' } }),
  key('rotation-policy', 'GetRotationPolicy', { targets: oneKey }),
  key('set-rotation-policy', 'SetRotationPolicy', { targets: oneKey }),
  key('delete', 'DeleteKey', {
    targets: oneKey,
    kinds: { confirm_name: 'key' },
    takesAccess: takesNamed('DELETE'),
  }),
  key('recover', 'RecoverKey', { targets: oneKey }),
  key('purge', 'PurgeKey', {
    targets: oneKey,
    kinds: { confirm_name: 'key' },
    takesAccess: takesNamed('PURGE'),
  }),
  key('show-deleted', 'GetDeletedKey', { targets: oneKey }),
  key('list-deleted', 'ListDeletedKeys', { targets: named('vault', 'vault', 'parent') }),
  key('backup', 'BackupKey', { targets: oneKey, output: 'backup' }),
  key('restore', 'RestoreKey', {
    targets: named('vault', 'vault', 'parent'),
    required: ['backup'],
    defaults: { request_id: 'uuid' },
  }),
  key('encrypt', 'Encrypt', { targets: use, required: ['algorithm', 'plaintext'], output: 'ciphertext' }),
  key('decrypt', 'Decrypt', { targets: use, required: ['algorithm', 'ciphertext'], output: 'plaintext' }),
  key('wrap', 'WrapKey', { targets: use, required: ['algorithm', 'plaintext-key'], output: 'wrappedKey' }),
  key('unwrap', 'UnwrapKey', { targets: use, required: ['algorithm', 'wrapped-key'], output: 'plaintextKey' }),
  key('sign', 'Sign', { targets: use, required: ['algorithm', 'digest'], output: 'signature' }),
  key('verify', 'Verify', { targets: use, required: ['algorithm', 'digest', 'signature'] }),
  key('authorize-rewrap', 'AuthorizeRewrap', {
    required: ['source', 'target', 'set'],
    aliases: { source: 'source_key_version', target: 'target_key_version', set: 'disk_encryption_set' },
  }),

  audit('list', 'ListAuditEntries', {
    targets: named('vault', 'vault', 'parent'),
    kinds: { key: 'keyOrVersion' },
  }),

  hold('show', 'GetHold', { isDefault: true, note: holdNote }),
  hold('confirm', 'ConfirmKeyStates', { targets: [{ word: 'hold', field: 'hold_id' }], note: holdNote }),

  platform('check-access', 'CheckAccess', { targets: named('vault/key[/version]', 'keyVersion', 'key_version') }),
  platform('resolve-key', 'ResolveKeyForEncryption'),
  platform('find-newer-key-version', 'FindNewerKeyVersion'),
  platform('authorize-impact-preview', 'AuthorizeImpactPreview'),
  platform('rewrap', 'Rewrap', {
    aliases: { source: 'source_key_version', target: 'target_key_version', set: 'disk_encryption_set' },
    output: 'wrappedKey',
  }),
  platform('unwrap-keys', 'UnwrapKeys'),
  platform('rewrap-keys', 'RewrapKeys'),
];
