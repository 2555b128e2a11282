import { createHash } from 'node:crypto';
import type {
  BackupKeyRequest,
  CreateKeyRequest,
  ImportKeyRequest,
  RestoreKeyRequest,
  RotateKeyRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import { type Category, type Cause, type Loaded, Rejection } from '@interlock/event-store';
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
import { type ActiveVault, exists as isExistingVault, type Vault } from '../vault/vault.ts';
import type { KeyBackup } from './backup.ts';
import { type CreationRequest, createVersion, keyNameHeld, restore, rotate, versionMadeBy } from './decider.ts';
import type { KeyEvent, VersionAttributes, VersionMaterial } from './events.ts';
import { exists, type Key } from './key.ts';
import { attributesFromWire, existingVersion, keyOnWire, keyVersionOnWire } from './wire.ts';

/** Size of a new key when the request does not say (KV-08). */
const keySizeDefault = 2048;

/** What the handlers that make keys need. */
export interface KeyMakingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly keys: Category<Key, KeyEvent>;
  readonly guard: Guard;
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly engine: RsaEngine;
  readonly material: KeyMaterial;
  readonly backup: KeyBackup;
  readonly life: VaultLife;
}

type MakePrivateKey = (materialId: string, order: NewKeyOrder) => Promise<NewRsaKey>;

/** A version to make. */
export interface NewVersion {
  readonly asked: CreationRequest;
  readonly origin: VersionMaterial['origin'];
  readonly make: MakePrivateKey;
  readonly decide: (made: VersionMaterial) => (state: Key) => readonly KeyEvent[];
  readonly expected?: number;
}

/** Creation, import and rotation of keys: request in, version out. */
export const keyMakingApi = (parts: KeyMakingParts) => {
  const { clock, keys, guard, log, engine } = parts;
  return {
    createKey: log.audited('KeyCreate', (request: CreateKeyRequest, call: Call, entry) => {
      const bits = request.keySizeBits || keySizeDefault;
      const readSource = () => {
        checkSize(bits);
        return { content: bits, make: generate(engine, bits) };
      };
      return create(parts, request, 'create', readSource, call, entry);
    }),
    importKey: log.audited('KeyImport', (request: ImportKeyRequest, call: Call, entry) => {
      const readSource = () => {
        const content = importFromWire(request);
        const make: MakePrivateKey = (materialId, order) => engine.import(materialId, content, order);
        return { content, make };
      };
      return create(parts, request, 'import', readSource, call, entry);
    }),
    rotateKey: log.audited('KeyRotate', async (request: RotateKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(request.name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'rotate', call, entry);
      const asked = { requestId: checkedRequestId(request.requestId), digest: digestOf(['rotate']) };
      const before = await keys.load(key);
      const { bits } = existingVersion(before, undefined);
      const version: NewVersion = {
        asked,
        origin: 'generated',
        make: generate(engine, bits),
        decide: (made) => rotate(clock.now(), asked, made),
        ...expectedVersion(request.etag),
      };
      return addVersion(parts, vault, before, version, call, entry);
    }),
  };
};

/** Creates or imports a key or its next version. @param readSource reads the rest of the request, after the permission check */
const create = async (
  parts: KeyMakingParts,
  request: CreateKeyRequest | ImportKeyRequest,
  permission: 'create' | 'import',
  readSource: () => { readonly content: unknown; readonly make: MakePrivateKey },
  call: Call,
  entry: AuditDraft,
) => {
  const { clock, keys, guard } = parts;
  const vaultId = parseVault(request.parent, 'parent');
  const key = names.key.format({ vault: vaultId, key: checkId(request.keyId, 'key', 'key_id').toLowerCase() });
  const vault = await guard.keyVault(vaultId, key, permission, call, entry);
  const requestId = checkedRequestId(request.requestId);
  const { content, make } = readSource();
  const attributes = attributesFromWire(request);
  const asked = { requestId, digest: digestOf([permission, content, sortedAttributes(attributes)]) };
  const before = await keys.load(key);
  // Refused before a private key is made for nothing (KV-64).
  if (before.state.status === 'deleted') throw keyNameHeld();
  const version: NewVersion = {
    asked,
    origin: permission === 'import' ? 'imported' : 'generated',
    make,
    decide: (made) => createVersion(clock.now(), asked, { ...made, ...attributes }),
  };
  return addVersion(parts, vault, before, version, call, entry);
};

/** Backup and restore of keys. */
export const keyBackupApi = (parts: KeyMakingParts) => {
  const { clock, keys, guard, log, backup } = parts;
  return {
    backupKey: log.audited('KeyBackup', async ({ name }: BackupKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'backup', call, entry);
      const loaded = await keys.load(key);
      existingVersion(loaded, undefined);
      if (!exists(loaded.state)) throw new Error('a key with a current version has versions');
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
      // Decided before anything is stored, so that a name in use costs nothing.
      const isRestored = restore(clock.now(), requestId, [])(before.state).length === 0;
      if (isRestored) return keyOnWire(before, vault, clock.now());
      const versions = await backup.reseal(opened, key, requestId, call.cause);
      const after = await storeIn(parts, vault, key, restore(clock.now(), requestId, versions), call.cause);
      return keyOnWire(after, vault, clock.now());
    }),
  };
};

/** Makes a new private key of a size. */
export const generate =
  (engine: RsaEngine, bits: number): MakePrivateKey =>
  (materialId, order) =>
    engine.generate(materialId, bits, order);

/**
 * Makes a private key and then its version. The private key is stored first: a version without it could never be used; a
 * private key without a version is removed later (see `KeyMaterial`).
 */
export const addVersion = async (
  parts: KeyMakingParts,
  vault: ActiveVault,
  before: Loaded<Key>,
  { asked, origin, make, decide, expected }: NewVersion,
  { cause, signal, timer }: Pick<Call, 'cause' | 'signal'> & { readonly timer?: string },
  entry: AuditDraft,
) => {
  const { id: key } = before;
  const done = versionMadeBy(before.state, asked);
  if (done) return keyVersionOnWire(before, done.version, parts.urls);
  const version = Buffer.from(parts.random.bytes(16)).toString('hex');
  const materialId = versionName(key, version);
  const { bits, publicJwk, sealedPrivateKey } = await make(materialId, { tenant: vault.tenant, signal });
  await parts.material.store(key, version, materialId, sealedPrivateKey, cause);
  const made = { version, materialId, bits, n: publicJwk.n, e: publicJwk.e, origin };
  const options = { ...(expected === undefined ? {} : { expected }), ...(timer === undefined ? {} : { timer }) };
  const after = await storeIn(parts, vault, key, decide(made), cause, options);
  // Of two equal requests at the same time, one makes the version and both return it.
  const result = versionMadeBy(after.state, asked)?.version ?? version;
  entry.about(key, result);
  return keyVersionOnWire(after, result, parts.urls);
};

/** Stores a decision about a key, unless its vault was purged meanwhile: a new vault of the name must not inherit the key. */
const storeIn = (
  { life, vaults, keys }: KeyMakingParts,
  { createdAt }: ActiveVault,
  key: string,
  decide: (state: Key) => readonly KeyEvent[],
  cause: Cause,
  options: { readonly expected?: number; readonly timer?: string } = {},
) => {
  const { vault } = parseKey(key, 'key');
  return life.during(vault, async (guard) => {
    const { state } = await vaults.load(vault);
    if (!isExistingVault(state) || state.createdAt !== createdAt) throw vaultNotFound(vault);
    if (state.status !== 'active') throw vaultDeleted(vault);
    return keys.transact(key, decide, cause, { ...options, guard });
  });
};

/** A digest of a request, stored with the version: a repeat has the same digest, even if the version was changed since. */
export const digestOf = (request: unknown): string =>
  createHash('sha256').update(JSON.stringify(request)).digest('base64url');

const sortedAttributes = ({ enabled, notBefore, expiresAt, operations, tags }: VersionAttributes) => [
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
    'request_id must be a UUID; a repeat with the same UUID does not make a second version',
    { field: 'request_id' },
  );
};

/** @throws Rejection INVALID_ARGUMENT KEY_MATERIAL_MISSING, KEY_MALFORMED. No error contains the key material. */
const importFromWire = ({ keyMaterial }: ImportKeyRequest): RsaImport => {
  if (keyMaterial?.$case === 'pem') return { format: 'pem', pem: keyMaterial.value };
  if (keyMaterial?.$case === 'jwkJson') return { format: 'jwk', jwk: parsedObject(keyMaterial.value) };
  throw new Rejection('INVALID_ARGUMENT', 'KEY_MATERIAL_MISSING', 'key_material must be a jwk_json or a pem', {
    field: 'key_material',
  });
};

const parsedObject = (text: string): Readonly<Record<string, unknown>> => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which may be a private key.
    parsed = undefined;
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed };
  const message = 'jwk_json must be a JSON object with the members of a private RSA JWK';
  throw new Rejection('INVALID_ARGUMENT', 'KEY_MALFORMED', message, { field: 'jwk_json' });
};
