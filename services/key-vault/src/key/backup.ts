import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { type Cause, Rejection } from '@interlock/event-store';
import { subscriptionOf } from '@interlock/rpc';
import type { Random } from '@interlock/runtime';
import { type MasterKey, type MasterKeys, nonceLength, seal, unseal } from '@interlock/sealing';
import { versionName } from '../names.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { openPrivateKey, type Sealing, sealPrivateKey } from '../sealing/sealing.ts';
import type { ExistingVault } from '../vault/vault.ts';
import type { RestoredVersion } from './events.ts';
import type { ExistingKey } from './key.ts';

/** Versions a backup can contain (KV-29). */
const versionsMax = 500;
const purpose = 'interlock key backup 1';

/** An opened backup: each version with its sealed private key and the seal key that opens it. Short-lived, never logged. */
export interface OpenedBackup {
  readonly subscription: string;
  readonly location: string;
  readonly keyId: string;
  readonly versions: readonly (RestoredVersion & { readonly sealed: string; readonly sealKey: string })[];
}

/**
 * Backups of keys: one blob that only this service can open (KV-29). It is sealed under a key derived from the master key; a
 * backup made under a previous master key still opens.
 */
export class KeyBackup {
  readonly #sealing: Sealing;
  readonly #material: KeyMaterial;
  readonly #random: Random;
  readonly #current: KeyObject;
  readonly #previous: readonly KeyObject[];

  constructor(parts: {
    readonly masterKeys: MasterKeys;
    readonly sealing: Sealing;
    readonly material: KeyMaterial;
    readonly random: Random;
  }) {
    this.#sealing = parts.sealing;
    this.#material = parts.material;
    this.#random = parts.random;
    this.#current = backupKey(parts.masterKeys.current);
    this.#previous = parts.masterKeys.previous.map(backupKey);
  }

  /** @throws Rejection FAILED_PRECONDITION TOO_MANY_VERSIONS */
  async make(key: string, state: ExistingKey, vault: ExistingVault): Promise<Uint8Array> {
    const count = Object.keys(state.versions).length;
    if (count > versionsMax) throw tooManyVersions(count);
    const versions: OpenedBackup['versions'][number][] = [];
    for (const { requestId: _requestId, digest: _digest, ...kept } of Object.values(state.versions)) {
      const { disabledAt: _disabledAt, isExpiryPublished: _published, ends: _ends, ...version } = kept;
      const sealed = await this.#material.sealed(version.materialId);
      const sealKey = await this.#sealing.open(version.materialId);
      versions.push({ ...version, sealed: base64url(sealed), sealKey: base64url(sealKey) });
      sealKey.fill(0);
    }
    const contents: OpenedBackup = {
      subscription: subscriptionOf(vault.resourceGroup),
      location: vault.location,
      keyId: key.split('/').at(-1) ?? '',
      versions,
    };
    const plaintext = Buffer.from(JSON.stringify(contents));
    try {
      return seal(this.#current, this.#random.bytes(nonceLength), purpose, plaintext);
    } finally {
      plaintext.fill(0);
    }
  }

  /**
   * @throws Rejection INVALID_ARGUMENT BACKUP_INVALID; FAILED_PRECONDITION BACKUP_OF_ANOTHER_SUBSCRIPTION,
   *   BACKUP_OF_ANOTHER_LOCATION
   */
  open(blob: Uint8Array, vault: ExistingVault): OpenedBackup {
    const contents = [this.#current, ...this.#previous]
      .map((key) => contentsOf(key, blob))
      .find((candidate) => candidate !== undefined);
    if (!contents) throw backupInvalid();
    requireSame('SUBSCRIPTION', contents.subscription, subscriptionOf(vault.resourceGroup));
    requireSame('LOCATION', contents.location, vault.location);
    return contents;
  }

  /**
   * Seals the private keys again under new names and stores them.
   * @param requestId makes the names unique: a private key that an earlier purge destroyed must stay destroyed
   */
  async reseal(
    contents: OpenedBackup,
    key: string,
    requestId: string,
    cause: Cause,
  ): Promise<readonly RestoredVersion[]> {
    const restored: RestoredVersion[] = [];
    for (const { sealed, sealKey, ...version } of contents.versions) {
      const materialId = `${versionName(key, version.version)}#${requestId}`;
      const backupSealKey = Buffer.from(sealKey, 'base64url');
      const newSealKey = await this.#sealing.obtain(materialId);
      const pkcs8 = openPrivateKey(backupSealKey, version.materialId, Buffer.from(sealed, 'base64url'));
      try {
        const bytes = sealPrivateKey(newSealKey, materialId, pkcs8, this.#random.bytes(nonceLength));
        await this.#material.store(key, version.version, materialId, bytes, cause);
      } finally {
        for (const secret of [backupSealKey, newSealKey, pkcs8]) secret.fill(0);
      }
      restored.push({ ...version, materialId });
    }
    return restored;
  }
}

const tooManyVersions = (count: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'TOO_MANY_VERSIONS',
    `a backup can contain ${versionsMax} versions; this key has ${count}`,
    { versions: String(count), limit: String(versionsMax) },
  );

const backupInvalid = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'BACKUP_INVALID',
    'backup must be a result of BackupKey of this service; to restore one from before a change of the master key, add the earlier key file to PREVIOUS_MASTER_KEY_FILES',
    { field: 'backup' },
  );

const backupKey = ({ key }: MasterKey): KeyObject => {
  const bytes = createHmac('sha256', key).update(purpose).digest();
  try {
    return createSecretKey(bytes);
  } finally {
    bytes.fill(0);
  }
};

const contentsOf = (key: KeyObject, blob: Uint8Array): OpenedBackup | undefined => {
  const plaintext = unseal(key, purpose, blob);
  if (!plaintext) return undefined;
  try {
    return JSON.parse(Buffer.from(plaintext).toString());
  } finally {
    plaintext.fill(0);
  }
};

const requireSame = (what: 'SUBSCRIPTION' | 'LOCATION', held: string, wanted: string): void => {
  if (held === wanted) return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    `BACKUP_OF_ANOTHER_${what}`,
    `the backup was made in ${held}, but the vault is in ${wanted}: a key can be restored only in its own subscription and location`,
    { backup: held, vault: wanted },
  );
};

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
