import { setOperationsOnWire } from '@interlock/access';
import type { KeyForEncryption } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { isSameRegion } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { KeyReference } from '../set/events.ts';

/** What a key is checked against. */
export interface KeyRequest {
  /** Region of the set. */
  readonly location: string;
  /** `subscriptions/<s>` of the set. */
  readonly subscription: string;
  /** Whether the vault belongs to the tenant of the set. */
  readonly isOwnTenant: boolean;
  /** `vaults/<v>` as requested; may be empty. */
  readonly sourceVault: string;
  readonly requirePurgeProtection: boolean;
}

/** A key URL without a version, and one with. The vault checks the host. */
const versionless = /^https?:\/\/[^/\s]+(\/[^\s]*)?\/keys\/[A-Za-z0-9-]{1,127}\/?$/;
const versioned = /^https?:\/\/[^/\s]+(\/[^\s]*)?\/keys\/[A-Za-z0-9-]{1,127}\/[0-9a-f]{32}$/;
/** RSA moduli that can wrap (CMK-20), in bits. */
const keySizesBits = [2048, 3072, 4096];

/**
 * Checks a key URL before any service is called.
 * @throws Rejection INVALID_ARGUMENT KEY_URL_WITHOUT_VERSION (CMK-30), KEY_URL_INVALID
 */
export const checkKeyUrl = (keyUrl: string): string => {
  if (versioned.test(keyUrl)) return keyUrl;
  const metadata = { field: 'key_url', value: keyUrl.slice(0, 300) };
  const right = 'https://<vault>/keys/<name>/<version>, the version being 32 lower-case hexadecimal digits';
  if (versionless.test(keyUrl)) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'KEY_URL_WITHOUT_VERSION',
      `key_url must name the version of the key: ${right}`,
      metadata,
    );
  }
  throw new Rejection('INVALID_ARGUMENT', 'KEY_URL_INVALID', `key_url must look like ${right}`, metadata);
};

/**
 * Checks a key against the rules for sets: RSA of a usable size (CMK-20), hardware keys only from a premium vault
 * (CMK-21), purge protection (CMK-22), same region (CMK-23), same tenant, and the source vault left out exactly where the
 * vault is in another subscription (CMK-24); then that it is enabled and within its dates.
 * @returns the key as the set will name it
 * @throws Rejection INVALID_ARGUMENT KEY_TYPE_NOT_SUPPORTED, LOCATION_MISMATCH, TENANT_MISMATCH, SOURCE_VAULT_MISMATCH,
 *   SOURCE_VAULT_NOT_ALLOWED; FAILED_PRECONDITION PURGE_PROTECTION_REQUIRED, KEY_OPERATION_NOT_ALLOWED, KEY_DISABLED,
 *   KEY_NOT_YET_VALID, KEY_EXPIRED
 */
export const checkKey = (now: Instant, key: KeyForEncryption, request: KeyRequest): KeyReference => {
  checkType(key);
  checkPlace(key, request);
  if (request.requirePurgeProtection && !key.purgeProtectionEnabled) {
    throw new Rejection(
      'FAILED_PRECONDITION',
      'PURGE_PROTECTION_REQUIRED',
      `${key.vault} must have purge protection on: without it a deleted key can be purged, and the disks with it`,
      { field: 'key_url', vault: key.vault },
    );
  }
  checkState(now, key);
  const { keyVersion, keyUrl } = key;
  return { keyVersion, keyUrl, sourceVault: key.subscription === request.subscription ? key.vault : '' };
};

const checkType = ({ keyType, keySizeBits, vaultSku, keyVersion }: KeyForEncryption): void => {
  const isHardware = keyType === 'RSA-HSM';
  if ((keyType === 'RSA' || (isHardware && vaultSku === 'PREMIUM')) && keySizesBits.includes(keySizeBits)) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'KEY_TYPE_NOT_SUPPORTED',
    `key_url must name an RSA key of ${keySizesBits.join(', ')} bits (hardware keys: in a premium vault), ` +
      `not ${keyType} of ${keySizeBits} bits`,
    { field: 'key_url', key_type: keyType, key_size_bits: String(keySizeBits), key_version: keyVersion },
  );
};

const checkPlace = (key: KeyForEncryption, request: KeyRequest): void => {
  const { vault } = key;
  if (!isSameRegion(key.location, request.location)) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'LOCATION_MISMATCH',
      `the set and ${vault} must be in the same region: the set is in "${request.location}", the vault in "${key.location}"`,
      { field: 'location', location: request.location, vault, vault_location: key.location },
    );
  }
  if (!request.isOwnTenant) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'TENANT_MISMATCH',
      `${vault} must belong to the tenant of the set's subscription`,
      { field: 'key_url', vault },
    );
  }
  if (request.sourceVault !== '' && key.subscription !== request.subscription) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'SOURCE_VAULT_NOT_ALLOWED',
      `source_vault must be empty when the vault is in another subscription (${key.subscription})`,
      { field: 'source_vault', vault, subscription: key.subscription },
    );
  }
  if (request.sourceVault !== '' && request.sourceVault !== vault) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'SOURCE_VAULT_MISMATCH',
      `source_vault must be the vault of key_url, ${vault}, not "${request.sourceVault}"`,
      { field: 'source_vault', vault, value: request.sourceVault.slice(0, 200) },
    );
  }
};

const checkState = (now: Instant, key: KeyForEncryption): void => {
  const { keyVersion } = key;
  const refusal = (reason: string, words: string): Rejection =>
    new Rejection('FAILED_PRECONDITION', reason, `${keyVersion} ${words}`, {
      field: 'key_url',
      key_version: keyVersion,
    });
  if (!key.enabled) throw refusal('KEY_DISABLED', 'must be enabled');
  if (key.notBefore !== undefined && key.notBefore.getTime() > now) {
    throw refusal('KEY_NOT_YET_VALID', `may not be used before ${key.notBefore.toISOString()}`);
  }
  if (key.expireTime !== undefined && key.expireTime.getTime() <= now) {
    throw refusal('KEY_EXPIRED', `has expired at ${key.expireTime.toISOString()}`);
  }
  if (!setOperationsOnWire.every((operation) => key.keyOperations.includes(operation))) {
    throw refusal('KEY_OPERATION_NOT_ALLOWED', 'must be allowed for wrapKey and unwrapKey');
  }
};
