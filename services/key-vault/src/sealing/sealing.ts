import { createSecretKey } from 'node:crypto';
import { Rejection } from '@interlock/event-store/rejection';
import type { Random } from '@interlock/runtime';
import { type MasterKey, type MasterKeys, nonceLength, seal, unseal } from '@interlock/sealing';
import { type SealKeyStore, sealKeyId } from './seal-key-store.ts';

const sealKeyLength = 32;
const masterKeyIdLength = 8;

const privateKeyPurpose = (version: string) => `interlock private key\0${version}`;
const sealKeyPurpose = (id: string) => `interlock seal key\0${id}`;

/** Seals the private key (PKCS#8) of a version. The caller overwrites `pkcs8` and `sealKey`. @param nonce 12 random bytes */
export const sealPrivateKey = (sealKey: Uint8Array, version: string, pkcs8: Uint8Array, nonce: Uint8Array) =>
  seal(createSecretKey(sealKey), nonce, privateKeyPurpose(version), pkcs8);

/**
 * Opens a sealed private key; the caller overwrites the result and `sealKey`.
 * @throws Rejection DATA_LOSS SEALED_KEY_CORRUPT when it was changed or belongs to another version
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

/** Finds a seal key under none of these master keys. @returns its id, or undefined */
export const sealKeyUnderAnother = async (
  store: SealKeyStore,
  masterKeys: readonly MasterKey[],
): Promise<string | undefined> => {
  const known = new Set(masterKeys.map(({ id }) => id));
  for await (const { id, masterKeyId } of masterKeyIdsOf(store)) if (!known.has(masterKeyId)) return id;
  return undefined;
};

/**
 * Checks that the process was given the right master key: keys sealed under a wrong one would be lost as soon as the right one is
 * back. If at least one seal key is under a given master key, the others are lost for another reason.
 * @throws Rejection UNAVAILABLE MASTER_KEY_UNKNOWN
 */
export const requireMasterKeyOf = async (store: SealKeyStore, { current, previous }: MasterKeys): Promise<void> => {
  const known = new Set([current, ...previous].map(({ id }) => id));
  let unknown: Rejection | undefined;
  for await (const { id, masterKeyId } of masterKeyIdsOf(store)) {
    if (known.has(masterKeyId)) return;
    unknown ??= masterKeyUnknown(id, masterKeyId);
  }
  if (unknown !== undefined) throw unknown;
};

/** The seal keys and the ids of their master keys, without unreadable records. */
async function* masterKeyIdsOf(store: SealKeyStore): AsyncGenerator<{ id: string; masterKeyId: string }> {
  for (const id of await store.ids()) {
    const found = await store.read(id);
    if (found.status !== 'present' || isZeros(found.record)) continue;
    yield { id, masterKeyId: masterKeyIdIn(found.record) };
  }
}

/** What a full disk or a crash of the machine may leave. */
const isZeros = (record: Uint8Array): boolean => record.every((byte) => byte === 0);

/** A record begins with the id of its master key. */
const masterKeyIdIn = (record: Uint8Array): string =>
  Buffer.from(record.subarray(0, masterKeyIdLength)).toString('hex');

const masterKeyUnknown = (sealKey: string, masterKeyId: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'MASTER_KEY_UNKNOWN',
    `seal key ${sealKey} is under master key ${masterKeyId}, which this process was not given: set MASTER_KEY_FILE to it, or add it to PREVIOUS_MASTER_KEY_FILES`,
    { seal_key: sealKey, master_key: masterKeyId },
  );

const sealKeyCorrupt = (id: string): Rejection =>
  new Rejection('DATA_LOSS', 'SEAL_KEY_CORRUPT', `seal key ${id} was changed; restore its file`, { seal_key: id });

const sealKeyPurged = (version: string): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', `${version} was purged; nothing under it can be opened again`, {
    version,
  });

/** Result of a move to the current master key. */
export interface Resealing {
  readonly resealed: number;
  readonly upToDate: number;
  readonly failedCount: number;
  /** The first failure. */
  readonly failure?: { readonly sealKey: string; readonly error: unknown };
}

/**
 * Private keys at rest.
 *
 *   master key ──seals──▶ seal key of one version ──seals──▶ private key of that version
 *   file or secret        a small store outside Postgres      a row in Postgres, and in its backups
 *
 * A purge destroys the seal key, so that no copy of the sealed private key in any backup can be opened again.
 * Each seal is AES-256-GCM over format (1 byte) ‖ nonce (12) ‖ tag (16) ‖ ciphertext. The additional data is the name of
 * the sealed object, so it opens under no other name.
 */
export class Sealing {
  readonly #store: SealKeyStore;
  readonly #masterKeys: MasterKeys;
  readonly #random: Random;

  constructor(parts: { store: SealKeyStore; masterKeys: MasterKeys; random: Random }) {
    this.#store = parts.store;
    this.#masterKeys = parts.masterKeys;
    this.#random = parts.random;
  }

  /** The seal key of a version, created if missing. 32 bytes in a buffer of their own; the caller overwrites them. */
  async obtain(version: string): Promise<Uint8Array<ArrayBuffer>> {
    const id = sealKeyId(version);
    const sealKey = Uint8Array.from(this.#random.bytes(sealKeyLength));
    const outcome = await this.#store.create(id, this.#sealRecord(id, sealKey));
    if (outcome === 'created') return sealKey;
    sealKey.fill(0);
    if (outcome === 'purged') throw sealKeyPurged(version);
    return this.open(version);
  }

  /**
   * The seal key of a version. 32 bytes in a buffer of their own; the caller overwrites them.
   * @throws Rejection KEY_PURGED; DATA_LOSS: SEAL_KEY_MISSING, SEAL_KEY_CORRUPT; UNAVAILABLE: MASTER_KEY_UNKNOWN
   */
  async open(version: string): Promise<Uint8Array<ArrayBuffer>> {
    const id = sealKeyId(version);
    const found = await this.#store.read(id);
    if (found.status === 'present') return this.#openRecord(id, found.record);
    if (found.status === 'purged') throw sealKeyPurged(version);
    // Not the same as purged: a store that is not mounted must not look like a decision of the customer.
    throw new Rejection(
      'DATA_LOSS',
      'SEAL_KEY_MISSING',
      `the store has neither the seal key ${id} of ${version} nor a mark of its purge; restore the store or purge the key`,
      { version, seal_key: id },
    );
  }

  /** Purges: destroys the seal key for good. May be repeated. */
  destroy(version: string): Promise<void> {
    return this.#store.destroy(sealKeyId(version));
  }

  /**
   * Seals every seal key under the current master key. May stop at any point and be repeated; `open` works meanwhile. A failed
   * seal key does not stop the others. Without failures only backups of keys need the previous master keys afterwards.
   */
  async resealAll(): Promise<Resealing> {
    const counts = { resealed: 0, upToDate: 0, gone: 0 };
    let failedCount = 0;
    let failure: Resealing['failure'];
    for (const id of await this.#store.ids()) {
      try {
        counts[await this.#reseal(id)] += 1;
      } catch (error) {
        failedCount += 1;
        failure ??= { sealKey: id, error };
      }
    }
    const { resealed, upToDate } = counts;
    return { resealed, upToDate, failedCount, ...(failure === undefined ? {} : { failure }) };
  }

  async #reseal(id: string): Promise<'resealed' | 'upToDate' | 'gone'> {
    const found = await this.#store.read(id);
    if (found.status !== 'present') return 'gone';
    if (this.#masterKeyOf(id, found.record).id === this.#masterKeys.current.id) return 'upToDate';
    const sealKey = this.#openRecord(id, found.record);
    try {
      await this.#store.replace(id, this.#sealRecord(id, sealKey));
    } finally {
      sealKey.fill(0);
    }
    return 'resealed';
  }

  #sealRecord(id: string, sealKey: Uint8Array): Uint8Array {
    const { id: masterKeyId, key } = this.#masterKeys.current;
    const sealed = seal(key, this.#random.bytes(nonceLength), sealKeyPurpose(id), sealKey);
    return Buffer.concat([Buffer.from(masterKeyId, 'hex'), sealed]);
  }

  #openRecord(id: string, record: Uint8Array): Uint8Array<ArrayBuffer> {
    const { key } = this.#masterKeyOf(id, record);
    const sealKey = unseal(key, sealKeyPurpose(id), record.subarray(masterKeyIdLength));
    if (sealKey?.length === sealKeyLength) return sealKey;
    throw sealKeyCorrupt(id);
  }

  #masterKeyOf(id: string, record: Uint8Array): MasterKey {
    if (isZeros(record)) throw sealKeyCorrupt(id);
    const masterKeyId = masterKeyIdIn(record);
    const masterKey = [this.#masterKeys.current, ...this.#masterKeys.previous].find((one) => one.id === masterKeyId);
    if (masterKey) return masterKey;
    throw masterKeyUnknown(id, masterKeyId);
  }
}
