import { createHash } from 'node:crypto';
import type {
  BackupKeyRequest,
  CreateKeyRequest,
  ImportKeyRequest,
  RestoreKeyRequest,
  RotateKeyRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import { type Category, type Cause, Rejection } from '@interlock/event-store';
import { type Call, checkId, expectedVersion, names } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Guard } from '../access/guard.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import { type KeyUrls, parseKey, parseVault, versionName } from '../names.ts';
import { checkSize, type NewKeyOrder, type NewRsaKey, type RsaEngine, type RsaImport } from '../rsa/rsa.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import { vaultDeleted, vaultNotFound } from '../vault/decider.ts';
import type { VaultEvent } from '../vault/events.ts';
import type { VaultLife } from '../vault/life.ts';
import { type ActiveVault, isStanding as isStandingVault, type Vault } from '../vault/vault.ts';
import type { Backup } from './backup.ts';
import { type Asked, createVersion, restore, rotate, versionMadeBy } from './decider.ts';
import type { KeyEvent, VersionAttributes, VersionMaterial } from './events.ts';
import { isStanding, type Key } from './key.ts';
import { attributesFromWire, existingVersion, keyOnWire, keyVersionOnWire } from './wire.ts';

/** Size of a new key when the request does not say (KV-08). */
const keySizeDefault = 2048;

/** How keys and versions come into being: request in, resource out. */
export const keyMakingApi = (parts: {
  readonly clock: Clock;
  readonly random: Random;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly keys: Category<Key, KeyEvent>;
  readonly guard: Guard;
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly engine: RsaEngine;
  readonly material: KeyMaterial;
  readonly backup: Backup;
  readonly life: VaultLife;
}) => {
  const { clock, random, keys, guard, log, urls, engine, material, backup, life } = parts;

  /**
   * Makes a private key and then its version. The key is stored first: a version without its key could never be used,
   * a key without its version is only swept away (see `KeyMaterial`).
   */
  const addVersion = async (
    vault: ActiveVault,
    key: string,
    wish: {
      readonly asked: Asked;
      readonly origin: VersionMaterial['origin'];
      readonly make: (materialId: string, order: NewKeyOrder) => Promise<NewRsaKey>;
      readonly decide: (made: VersionMaterial) => (state: Key) => readonly KeyEvent[];
      readonly expected?: number;
    },
    { cause, signal }: Call,
    entry: AuditDraft,
  ) => {
    const before = await keys.load(key);
    const done = versionMadeBy(before.state, wish.asked);
    if (done) return keyVersionOnWire(before, done.version, urls);
    const version = Buffer.from(random.bytes(16)).toString('hex');
    const materialId = versionName(key, version);
    const made = await wish.make(materialId, { tenant: vault.tenant, signal });
    await material.store(key, version, materialId, made.sealedPrivateKey, cause);
    const { bits, publicJwk } = made;
    const { n, e } = publicJwk;
    const decide = wish.decide({ version, materialId, bits, n, e, origin: wish.origin });
    const options = wish.expected === undefined ? {} : { expected: wish.expected };
    const after = await storeIn(vault, key, decide, cause, options);
    // Of two equal wishes at the same time one is first; both answer its version.
    const result = versionMadeBy(after.state, wish.asked)?.version ?? version;
    entry.about(key, result);
    return keyVersionOnWire(after, result, urls);
  };

  /** Making a key takes a while: the vault may be gone meanwhile, and a new one of its name must not inherit the key. */
  const storeIn = (
    { createdAt }: ActiveVault,
    key: string,
    decide: (state: Key) => readonly KeyEvent[],
    cause: Cause,
    options: { readonly expected?: number } = {},
  ) => {
    const { vault } = parseKey(key, 'key');
    return life.during(vault, async (guard) => {
      const { state } = await parts.vaults.load(vault);
      if (!isStandingVault(state) || state.createdAt !== createdAt) throw vaultNotFound(vault);
      if (state.status !== 'active') throw vaultDeleted(vault);
      return keys.transact(key, decide, cause, { ...options, guard });
    });
  };

  const newKeyName = (parent: string, keyId: string) => {
    const vault = parseVault(parent, 'parent');
    return { vault, key: names.key.format({ vault, key: checkId(keyId, 'key', 'key_id').toLowerCase() }) };
  };

  return {
    createKey: log.audited('KeyCreate', async (request: CreateKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = newKeyName(request.parent, request.keyId);
      const vault = await guard.keyVault(vaultId, key, 'create', call, entry);
      const requestId = checkedRequestId(request.requestId);
      const bits = request.keySizeBits || keySizeDefault;
      checkSize(bits);
      const attributes = attributesFromWire(request);
      const asked = { requestId, wish: digestOf(['create', bits, wordsOf(attributes)]) };
      await checkNameFree(keys, key, asked);
      return addVersion(
        vault,
        key,
        {
          asked,
          origin: 'generated',
          make: (materialId, order) => engine.generate(materialId, bits, order),
          decide: (made) => createVersion(clock.now(), asked, { ...made, ...attributes }),
        },
        call,
        entry,
      );
    }),
    importKey: log.audited('KeyImport', async (request: ImportKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = newKeyName(request.parent, request.keyId);
      const vault = await guard.keyVault(vaultId, key, 'import', call, entry);
      const requestId = checkedRequestId(request.requestId);
      const attributes = attributesFromWire(request);
      const given = importFromWire(request);
      const asked = { requestId, wish: digestOf(['import', given, wordsOf(attributes)]) };
      await checkNameFree(keys, key, asked);
      return addVersion(
        vault,
        key,
        {
          asked,
          origin: 'imported',
          make: (materialId, order) => engine.import(materialId, given, order),
          decide: (made) => createVersion(clock.now(), asked, { ...made, ...attributes }),
        },
        call,
        entry,
      );
    }),
    rotateKey: log.audited('KeyRotate', async (request: RotateKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(request.name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'rotate', call, entry);
      const asked = { requestId: checkedRequestId(request.requestId), wish: digestOf(['rotate']) };
      const { bits } = existingVersion(await keys.load(key), undefined);
      return addVersion(
        vault,
        key,
        {
          asked,
          origin: 'generated',
          make: (materialId, order) => engine.generate(materialId, bits, order),
          decide: (made) => rotate(clock.now(), asked, made),
          ...expectedVersion(request.etag),
        },
        call,
        entry,
      );
    }),
    backupKey: log.audited('KeyBackup', async ({ name }: BackupKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'backup', call, entry);
      const loaded = await keys.load(key);
      existingVersion(loaded, undefined);
      if (!isStanding(loaded.state)) throw new Error('a key with a current version has versions');
      return { backup: await backup.make(key, loaded.state, vault) };
    }),
    restoreKey: log.audited('KeyRestore', async (request: RestoreKeyRequest, call: Call, entry) => {
      const vaultId = parseVault(request.parent, 'parent');
      const vault = await guard.keyVault(vaultId, undefined, 'restore', call, entry);
      const requestId = checkedRequestId(request.requestId);
      const opened = backup.open(request.backup, vault);
      const key = names.key.format({ vault: vaultId, key: opened.keyId });
      entry.about(key);
      const before = await keys.load(key);
      // Decided before anything is stored, so that a name that is not free costs nothing.
      if (restore(clock.now(), requestId, [])(before.state).length > 0) {
        const versions = await backup.reseal(opened, key, requestId, call.cause);
        const after = await storeIn(vault, key, restore(clock.now(), requestId, versions), call.cause);
        return keyOnWire(after, vault, clock.now());
      }
      return keyOnWire(before, vault, clock.now());
    }),
  };
};

/** Refuses a name held by a deleted key before a key is made for nothing (KV-64). */
const checkNameFree = async (keys: Category<Key, KeyEvent>, key: string, asked: Asked): Promise<void> => {
  const { state } = await keys.load(key);
  if (state.status !== 'deleted') return;
  const nothing = { version: '', materialId: '', bits: 0, n: '', e: '', origin: 'generated' } as const;
  createVersion(0, asked, { ...nothing, enabled: false, operations: [], tags: {} })(state);
};

/** What is asked for, in a form that a repeat has again: kept with the version, which may be changed later. */
const digestOf = (asked: unknown): string => createHash('sha256').update(JSON.stringify(asked)).digest('base64url');

const wordsOf = ({ enabled, notBefore, expiresAt, operations, tags }: VersionAttributes) => [
  enabled,
  notBefore ?? null,
  expiresAt ?? null,
  operations,
  Object.entries(tags).toSorted(([a], [b]) => (a < b ? -1 : 1)),
];

const checkedRequestId = (requestId: string): string => {
  if (/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(requestId)) return requestId.toLowerCase();
  throw new Rejection(
    'INVALID_ARGUMENT',
    'REQUEST_ID_INVALID',
    'request_id must be a UUID that names this wish, so that a repeat does not make a second version',
    { field: 'request_id' },
  );
};

/** @throws Rejection INVALID_ARGUMENT KEY_MATERIAL_MISSING, KEY_MALFORMED. The text itself is never repeated. */
const importFromWire = ({ keyMaterial }: ImportKeyRequest): RsaImport => {
  if (keyMaterial?.$case === 'pem') return { format: 'pem', pem: keyMaterial.value };
  if (keyMaterial?.$case !== 'jwkJson') {
    throw new Rejection('INVALID_ARGUMENT', 'KEY_MATERIAL_MISSING', 'key_material must be a jwk_json or a pem', {
      field: 'key_material',
    });
  }
  return { format: 'jwk', jwk: parsedObject(keyMaterial.value) };
};

const parsedObject = (text: string): Readonly<Record<string, unknown>> => {
  const malformed = (): Rejection =>
    new Rejection(
      'INVALID_ARGUMENT',
      'KEY_MALFORMED',
      'jwk_json must be a JSON object with the members of a private RSA JWK',
      {
        field: 'jwk_json',
      },
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which may be a private key.
    throw malformed();
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw malformed();
  return { ...parsed };
};
