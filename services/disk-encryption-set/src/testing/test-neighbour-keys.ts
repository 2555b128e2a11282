import {
  FindNewerKeyVersionResponse,
  KeyForEncryption,
  RewrapAuthorization,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import type { KeyVault } from '../sets.ts';
import { type FakeKey, type FakeState, methodsOf } from './test-neighbour-state.ts';

export const versionOf = (digit: string): string => `vaults/kv1/keys/k1/versions/${digit.repeat(32)}`;
export const urlOf = (digit: string): string => `https://kv1.vault.test/keys/k1/${digit.repeat(32)}`;

/** A usable key in the vault `kv1`. */
export const fakeKey = (digit: string, differences: Partial<KeyForEncryption> = {}): FakeKey => ({
  lost: undefined,
  resolved: KeyForEncryption.fromPartial({
    keyVersion: versionOf(digit),
    keyUrl: urlOf(digit),
    vault: 'vaults/kv1',
    resourceGroup: 'subscriptions/s1/resourceGroups/g',
    subscription: 'subscriptions/s1',
    tenant: 'tenants/main',
    location: 'westeurope',
    vaultSku: 'STANDARD',
    softDeleteRetentionDays: 90,
    purgeProtectionEnabled: true,
    keyType: 'RSA',
    keySizeBits: 2048,
    enabled: true,
    keyOperations: ['WRAP_KEY', 'UNWRAP_KEY'],
    ...differences,
  }),
});

/** @throws Rejection KEY_VERSION_NOT_FOUND */
export const keyIn = ({ keys }: Pick<FakeState, 'keys'>, keyVersion = ''): FakeKey => {
  const key = keys.get(keyVersion);
  if (!key) throw new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', keyVersion, { key_version: keyVersion });
  return key;
};

/** @throws Rejection with the reason for which the identity of the set cannot use the key */
export const requireUse = (state: FakeState, keyVersion: string): void => {
  const { lost } = keyIn(state, keyVersion);
  if (lost === undefined) return;
  throw new Rejection(lost === 'ACCESS_DENIED' ? 'PERMISSION_DENIED' : 'FAILED_PRECONDITION', lost, lost, {
    key_version: keyVersion,
    access_epoch: String(state.epoch),
  });
};

/** The methods of key-vault that the sets call. */
export const fakeKeyVault = (state: FakeState): KeyVault => {
  const call = methodsOf(state);
  return {
    resolveKeyForEncryption: call('resolveKeyForEncryption', ({ keyUrl = '' }: { keyUrl?: string | undefined }) => {
      const found = [...state.keys.values()].find(({ resolved }) => resolved.keyUrl === keyUrl);
      if (!found) throw new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', keyUrl);
      return found.resolved;
    }),
    findNewerKeyVersion: call('findNewerKeyVersion', ({ keyVersion = '' }: { keyVersion?: string | undefined }) => {
      // A higher digit names a newer version.
      const newer = [...state.keys.values()].filter(({ resolved }) => resolved.keyVersion > keyVersion).reverse();
      const newest = newer[0];
      const usable = newer.find(({ resolved }) => resolved.enabled);
      return FindNewerKeyVersionResponse.fromPartial({
        ...(usable === undefined ? {} : { newer: usable.resolved }),
        ...(newest === undefined || newest === usable
          ? {}
          : { unusableKeyVersion: newest.resolved.keyVersion, unusableReason: 'KEY_DISABLED' }),
      });
    }),
    authorizeImpactPreview: call('authorizeImpactPreview', ({ name = '' }: { name?: string | undefined }) => ({
      name,
      refusedWith: '',
    })),
    authorizeRewrap: call('authorizeRewrap', (request, options) => {
      const { sourceKeyVersion = '', targetKeyVersion = '' } = request;
      if (options?.token !== 'owner') throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'not the owner');
      state.authorizations.push(`${sourceKeyVersion} ${targetKeyVersion}`);
      return RewrapAuthorization.fromPartial({ sourceKeyVersion, targetKeyVersion });
    }),
  };
};
