import { Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';

/**
 * Names of vaults, keys and versions. Case does not matter (KV-01): requests are converted to lower case, so stored, returned
 * and published names can be compared as text.
 */
export interface KeyId {
  /** Last segment of the vault's name, lower case. */
  readonly vault: string;
  /** `vaults/<v>/keys/<k>`, lower case: also the id of the key's stream. */
  readonly key: string;
}

/** A key and a version; `undefined`: the current one. */
export interface VersionId extends KeyId {
  readonly version: string | undefined;
}

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const parseVault = (name: string, field: string): string => names.vault.parse(name.toLowerCase(), field).vault;

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const parseKey = (name: string, field: string): KeyId => {
  const key = name.toLowerCase();
  return { vault: names.key.parse(key, field).vault, key };
};

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const parseVersion = (name: string, field: string): KeyId & { readonly version: string } => {
  const { vault, key, version } = names.keyVersion.parse(name.toLowerCase(), field);
  return { vault, key: names.key.format({ vault, key }), version };
};

/** The name of a version, or of a key for its current one (KV-04). @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const parseKeyOrVersion = (name: string, field: string): VersionId =>
  name.split('/').length === 4 ? { ...parseKey(name, field), version: undefined } : parseVersion(name, field);

/** `vaults/<v>/keys/<k>/versions/<version>` */
export const versionName = (key: string, version: string): string => `${key}/versions/${version}`;

/** Makes and reads the URLs of keys; `suffix` is the part of the host name after the vault's. */
export interface KeyUrls {
  vault(vault: string): string;
  key(key: string): string;
  version(key: string, version: string): string;
  /** @throws Rejection INVALID_ARGUMENT KEY_URL_INVALID, KEY_URL_WITHOUT_VERSION (CMK-30) */
  parse(url: string): KeyId & { readonly version: string };
}

/** Key URLs under one suffix (KV-01). */
export const keyUrls = (suffix: string): KeyUrls => {
  const form = `https://{vault}.${suffix}/keys/{key}/{version}`;
  const vaultUrl = (vault: string): string => `https://${vault}.${suffix}`;
  const keyUrl = (key: string): string => {
    const ids = names.key.parse(key, 'key');
    return `${vaultUrl(ids.vault)}/keys/${ids.key}`;
  };
  const pattern = new RegExp(
    `^https://([a-z][a-z0-9-]{2,23})\\.${suffix.replaceAll('.', '\\.')}/keys/([a-z0-9-]{1,127})(/[0-9a-f]{32})?/?$`,
  );
  return {
    vault: vaultUrl,
    key: keyUrl,
    version: (key, version) => `${keyUrl(key)}/${version}`,
    parse(url) {
      const [, vault, key, version] = pattern.exec(url.toLowerCase()) ?? [];
      const value = url.slice(0, 300);
      if (vault === undefined || key === undefined) {
        throw new Rejection('INVALID_ARGUMENT', 'KEY_URL_INVALID', `key_url must look like ${form}, not "${value}"`, {
          field: 'key_url',
          value,
        });
      }
      if (version === undefined) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'KEY_URL_WITHOUT_VERSION',
          `key_url must name a version, as in ${form}; "${value}" names none`,
          { field: 'key_url', value },
        );
      }
      return { vault, key: names.key.format({ vault, key }), version: version.slice(1) };
    },
  };
};
