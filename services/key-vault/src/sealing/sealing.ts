import { createSecretKey } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { type MasterKey, type MasterKeys, nonceLength, seal, unseal } from '@interlock/sealing';
import { type SealKeyStore, sealKeyId } from './seal-key-store.ts';

/**
 * Private keys at rest.
 *
 *   master key ──seals──▶ seal key of one version ──seals──▶ private key of that version
 *   file or secret        a small store outside Postgres      a row in Postgres, and in its backups
 *
 * A purge destroys the seal key. From then on every copy of the sealed private key, in whatever backup, is noise.
 * Each seal is AES-256-GCM over format (1 byte) ‖ nonce (12) ‖ tag (16) ‖ ciphertext; the additional data is the name
 * of what is sealed, so a blob is of no use under another name.
 */
export interface Sealing {
  /** The seal key of a version, made now if there is none. 32 bytes in a buffer of their own; the caller clears them. */
  obtain(version: string): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The seal key of a version. 32 bytes in a buffer of their own; the caller clears them.
   * @throws Rejection KEY_PURGED; DATA_LOSS: SEAL_KEY_MISSING, SEAL_KEY_CORRUPT; UNAVAILABLE: MASTER_KEY_UNKNOWN.
   */
  open(version: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Purges: destroys the seal key for good. Repeating it does nothing. */
  destroy(version: string): Promise<void>;
  /**
   * Seals every seal key that is still under a previous master key under the current one. May stop at any point and
   * be run again; `open` works all the while. Where none has failed, nothing here needs the previous master keys afterwards;
   * backups of keys that were made under them still do.
   * One that cannot be opened, or not be written, keeps none of the others from being moved.
   */
  resealAll(): Promise<Resealing>;
}

/** What became of a move to the current master key. */
export interface Resealing {
  readonly resealed: number;
  readonly upToDate: number;
  readonly failedCount: number;
  /** The first that failed. */
  readonly failure?: { readonly sealKey: string; readonly error: unknown };
}

const sealKeyLength = 32;
const masterKeyIdLength = 8;

const privateKeyPurpose = (version: string) => `interlock private key\0${version}`;
const sealKeyPurpose = (id: string) => `interlock seal key\0${id}`;

/** Seals a private key (PKCS#8) of a version. The caller clears `pkcs8` and `sealKey`. `nonce`: 12 random bytes. */
export const sealPrivateKey = (sealKey: Uint8Array, version: string, pkcs8: Uint8Array, nonce: Uint8Array) =>
  seal(createSecretKey(sealKey), nonce, privateKeyPurpose(version), pkcs8);

/**
 * Opens a sealed private key; the caller clears the result and `sealKey`.
 * @throws Rejection DATA_LOSS SEALED_KEY_CORRUPT when it was changed or is the blob of another version.
 */
export function openPrivateKey(sealKey: Uint8Array, version: string, sealed: Uint8Array): Uint8Array {
  const pkcs8 = unseal(createSecretKey(sealKey), privateKeyPurpose(version), sealed);
  if (pkcs8) return pkcs8;
  throw new Rejection(
    'DATA_LOSS',
    'SEALED_KEY_CORRUPT',
    `the sealed private key of ${version} was changed or belongs to another version`,
    { version },
  );
}

/** @returns the id of a seal key that is under none of these master keys; undefined when there is none */
export const sealKeyUnderAnother = async (
  store: SealKeyStore,
  masterKeys: readonly MasterKey[],
): Promise<string | undefined> => {
  const known = new Set(masterKeys.map(({ id }) => id));
  for (const id of await store.ids()) {
    const found = await store.read(id);
    if (found.status !== 'present' || namesNoMasterKey(found.record)) continue;
    if (!known.has(masterKeyIdIn(found.record))) return id;
  }
  return undefined;
};

/**
 * Sees to it that the vault was not given another master key than before: what is sealed under that one meanwhile would be lost as
 * soon as the right one is back. Where some seal keys are under a given one, the others are what was lost by itself.
 * @throws Rejection UNAVAILABLE MASTER_KEY_UNKNOWN
 */
export const requireMasterKeyOf = async (store: SealKeyStore, { current, previous }: MasterKeys): Promise<void> => {
  const known = new Set([current, ...previous].map(({ id }) => id));
  let unknown: Rejection | undefined;
  for (const id of await store.ids()) {
    const found = await store.read(id);
    if (found.status !== 'present' || namesNoMasterKey(found.record)) continue;
    const masterKeyId = masterKeyIdIn(found.record);
    if (known.has(masterKeyId)) return;
    unknown ??= masterKeyUnknown(id, masterKeyId);
  }
  if (unknown !== undefined) throw unknown;
};

const masterKeyUnknown = (sealKey: string, masterKeyId: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'MASTER_KEY_UNKNOWN',
    `seal key ${sealKey} is under master key ${masterKeyId}, which this process was not given: MASTER_KEY_FILE is another one, or an earlier one is missing in PREVIOUS_MASTER_KEY_FILES`,
    { seal_key: sealKey, master_key: masterKeyId },
  );

/** What a full disk or a crash of the machine leaves. */
const namesNoMasterKey = (record: Uint8Array): boolean => record.every((byte) => byte === 0);

/** A record begins with the id of the master key it is under. */
const masterKeyIdIn = (record: Uint8Array): string =>
  Buffer.from(record.subarray(0, masterKeyIdLength)).toString('hex');

/** Sealing over a store of seal keys. */
export function createSealing(parts: { store: SealKeyStore; masterKeys: MasterKeys; random: Random }): Sealing {
  const { store, masterKeys, random } = parts;

  const sealRecord = (id: string, sealKey: Uint8Array) =>
    Buffer.concat([
      Buffer.from(masterKeys.current.id, 'hex'),
      seal(masterKeys.current.key, random.bytes(nonceLength), sealKeyPurpose(id), sealKey),
    ]);

  const corrupt = (id: string) =>
    new Rejection('DATA_LOSS', 'SEAL_KEY_CORRUPT', `seal key ${id} was changed; restore its file`, { seal_key: id });

  const masterKeyOf = (id: string, record: Uint8Array): MasterKey => {
    if (namesNoMasterKey(record)) throw corrupt(id);
    const masterKeyId = masterKeyIdIn(record);
    const masterKey = [masterKeys.current, ...masterKeys.previous].find((candidate) => candidate.id === masterKeyId);
    if (masterKey) return masterKey;
    throw masterKeyUnknown(id, masterKeyId);
  };

  const openRecord = (id: string, record: Uint8Array): Uint8Array<ArrayBuffer> => {
    const { key } = masterKeyOf(id, record);
    const sealKey = unseal(key, sealKeyPurpose(id), record.subarray(masterKeyIdLength));
    if (sealKey?.length === sealKeyLength) return sealKey;
    throw corrupt(id);
  };

  const purged = (version: string) =>
    new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', `${version} was purged; nothing under it can be opened again`, {
      version,
    });

  const openVersion = async (version: string) => {
    const id = sealKeyId(version);
    const found = await store.read(id);
    switch (found.status) {
      case 'present':
        return openRecord(id, found.record);
      case 'purged':
        throw purged(version);
      case 'absent':
        // Not the same as purged: a store that is not mounted must not look like a decision of the customer.
        throw new Rejection(
          'DATA_LOSS',
          'SEAL_KEY_MISSING',
          `the store has no seal key ${id} of ${version} and no trace of a purge; bring the store back or purge the key`,
          { version, seal_key: id },
        );
    }
  };

  const reseal = async (id: string): Promise<'resealed' | 'upToDate' | 'gone'> => {
    const found = await store.read(id);
    if (found.status !== 'present') return 'gone';
    if (masterKeyOf(id, found.record).id === masterKeys.current.id) return 'upToDate';
    const sealKey = openRecord(id, found.record);
    try {
      await store.replace(id, sealRecord(id, sealKey));
    } finally {
      sealKey.fill(0);
    }
    return 'resealed';
  };

  return {
    open: openVersion,
    async obtain(version) {
      const id = sealKeyId(version);
      const sealKey = Uint8Array.from(random.bytes(sealKeyLength));
      const outcome = await store.create(id, sealRecord(id, sealKey));
      if (outcome === 'created') return sealKey;
      sealKey.fill(0);
      if (outcome === 'purged') throw purged(version);
      return openVersion(version);
    },
    destroy: (version) => store.destroy(sealKeyId(version)),
    async resealAll() {
      const counts = { resealed: 0, upToDate: 0, gone: 0 };
      let failedCount = 0;
      let failure: Resealing['failure'];
      for (const id of await store.ids()) {
        try {
          counts[await reseal(id)] += 1;
        } catch (error) {
          failedCount += 1;
          failure ??= { sealKey: id, error };
        }
      }
      const { resealed, upToDate } = counts;
      return { resealed, upToDate, failedCount, ...(failure === undefined ? {} : { failure }) };
    },
  };
}
