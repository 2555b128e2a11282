import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { type Cause, Rejection } from '@interlock/event-store';
import { subscriptionOf } from '@interlock/rpc';
import type { Random } from '@interlock/runtime';
import { type MasterKey, type MasterKeys, nonceLength, seal, unseal } from '@interlock/sealing';
import { versionName } from '../names.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { openPrivateKey, type Sealing, sealPrivateKey } from '../sealing/sealing.ts';
import type { StandingVault } from '../vault/vault.ts';
import type { RestoredVersion } from './events.ts';
import type { StandingKey } from './key.ts';

/** Versions a backup holds at most. Rule KV-29. */
const versionsMax = 500;
const purpose = 'interlock key backup 1';

/** What a backup holds: of each version its sealed private key and the seal key that opens it. */
interface Contents {
  readonly subscription: string;
  readonly location: string;
  readonly keyId: string;
  readonly versions: readonly (RestoredVersion & { readonly sealed: string; readonly sealKey: string })[];
}

/** An opened backup. Holds seal keys: short-lived, never logged. */
export type OpenedBackup = Contents;

/** Backups of keys: one blob that only this service can open (KV-29). */
export interface Backup {
  /** @throws Rejection FAILED_PRECONDITION TOO_MANY_VERSIONS */
  make(key: string, state: StandingKey, vault: StandingVault): Promise<Uint8Array>;
  /**
   * @throws Rejection INVALID_ARGUMENT BACKUP_INVALID; FAILED_PRECONDITION BACKUP_OF_ANOTHER_SUBSCRIPTION,
   *   BACKUP_OF_ANOTHER_LOCATION
   */
  open(blob: Uint8Array, vault: StandingVault): OpenedBackup;
  /**
   * Seals the private keys anew under the key's name and keeps them. @param requestId makes names of their own for them:
   * a purge of the same versions before must stay a purge
   */
  reseal(opened: OpenedBackup, key: string, requestId: string, cause: Cause): Promise<readonly RestoredVersion[]>;
}

/** Backups under a key derived from the master key; one made under a previous master key still opens. */
export const keyBackup = (parts: {
  readonly masterKeys: MasterKeys;
  readonly sealing: Sealing;
  readonly material: KeyMaterial;
  readonly random: Random;
}): Backup => {
  const { sealing, material, random } = parts;
  const current = backupKey(parts.masterKeys.current);
  const previous = parts.masterKeys.previous.map(backupKey);

  return {
    async make(key, state, vault) {
      const versions = Object.values(state.versions);
      if (versions.length > versionsMax) {
        throw new Rejection(
          'FAILED_PRECONDITION',
          'TOO_MANY_VERSIONS',
          `a backup holds at most ${versionsMax} versions; this key has ${versions.length}`,
          { versions: String(versions.length), limit: String(versionsMax) },
        );
      }
      const held: Contents['versions'][number][] = [];
      for (const { requestId: _requestId, wish: _wish, ...kept } of versions) {
        const { disabledAt: _disabledAt, isExpiryTold: _told, ...version } = kept;
        const sealed = await material.sealed(version.materialId);
        const sealKey = await sealing.open(version.materialId);
        held.push({ ...version, sealed: base64url(sealed), sealKey: base64url(sealKey) });
        sealKey.fill(0);
      }
      const keyId = key.split('/').at(-1) ?? '';
      const contents: Contents = {
        subscription: subscriptionOf(vault.resourceGroup),
        location: vault.location,
        keyId,
        versions: held,
      };
      const plaintext = Buffer.from(JSON.stringify(contents));
      try {
        return seal(current, random.bytes(nonceLength), purpose, plaintext);
      } finally {
        plaintext.fill(0);
      }
    },
    open(blob, vault) {
      const contents = [current, ...previous]
        .map((key) => opened(key, blob))
        .find((candidate) => candidate !== undefined);
      if (!contents) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'BACKUP_INVALID',
          'backup must be what BackupKey of this service answered; one from before the last change of its master key needs that in PREVIOUS_MASTER_KEY_FILES',
          {
            field: 'backup',
          },
        );
      }
      requireSame('SUBSCRIPTION', contents.subscription, subscriptionOf(vault.resourceGroup));
      requireSame('LOCATION', contents.location, vault.location);
      return contents;
    },
    async reseal(contents, key, requestId, cause) {
      const restored: RestoredVersion[] = [];
      for (const { sealed, sealKey, ...version } of contents.versions) {
        const materialId = `${versionName(key, version.version)}#${requestId}`;
        const openKey = Buffer.from(sealKey, 'base64url');
        const ownKey = await sealing.obtain(materialId);
        const pkcs8 = openPrivateKey(openKey, version.materialId, Buffer.from(sealed, 'base64url'));
        try {
          const bytes = sealPrivateKey(ownKey, materialId, pkcs8, random.bytes(nonceLength));
          await material.store(key, version.version, materialId, bytes, cause);
        } finally {
          for (const secret of [openKey, ownKey, pkcs8]) secret.fill(0);
        }
        restored.push({ ...version, materialId });
      }
      return restored;
    },
  };
};

const backupKey = ({ key }: MasterKey): KeyObject => {
  const bytes = createHmac('sha256', key).update(purpose).digest();
  try {
    return createSecretKey(bytes);
  } finally {
    bytes.fill(0);
  }
};

const opened = (key: KeyObject, blob: Uint8Array): Contents | undefined => {
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
    `the backup was made in ${held} and the vault is in ${wanted}: a key is restored only to where it came from`,
    { backup: held, vault: wanted },
  );
};

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
