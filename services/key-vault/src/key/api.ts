import type {
  DeleteKeyRequest,
  GetDeletedKeyRequest,
  GetKeyRequest,
  ListDeletedKeysRequest,
  ListKeysRequest,
  PurgeKeyRequest,
  RecoverKeyRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import type {
  GetKeyVersionRequest,
  ListKeyVersionsRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { type Category, Rejection } from '@interlock/event-store';
import { type Call, expectedVersion, pageOf, pageToken } from '@interlock/rpc';
import { type Clock, DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Guard } from '../access/guard.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import { type KeyUrls, parseKey, parseKeyOrVersion, parseVault } from '../names.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import type { KeyPermission } from '../vault/events.ts';
import type { VaultLife } from '../vault/life.ts';
import type { Confirmation } from './confirmation.ts';
import { keyDeleted, keyGone, keyNotFound, purge, recover, remove } from './decider.ts';
import type { KeyEvent } from './events.ts';
import { exists, type Key } from './key.ts';
import { existingVersion, keyOnWire, keyVersionOnWire } from './wire.ts';

/** Keys and versions of a page when the request does not say (KV-23). */
const pageSizeDefault = 25;

/** What the handlers of keys need. */
export interface KeyApiParts {
  readonly clock: Clock;
  readonly keys: Category<Key, KeyEvent>;
  readonly guard: Guard;
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly material: KeyMaterial;
  readonly confirm: Confirmation;
  readonly life: VaultLife;
  readonly retentionDayMs: number;
}

/** Reads of keys and versions: request in, resource out. */
export const keyReadApi = (parts: KeyApiParts) => {
  const { clock, keys, guard, log, urls } = parts;

  /** Reads a key in one state. @param absent the refusal in the other state */
  const getKey =
    (status: 'active' | 'deleted', absent: (key: string) => Rejection) =>
    async ({ name }: GetKeyRequest | GetDeletedKeyRequest, call: Call, entry: AuditDraft) => {
      const { vault: vaultId, key } = parseKey(name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'get', call, entry);
      const loaded = await keys.load(key);
      if (exists(loaded.state) && loaded.state.status !== status) throw absent(key);
      return keyOnWire(loaded, vault, clock.now());
    };

  const listKeys =
    (status: 'active' | 'deleted') =>
    async (request: ListKeysRequest | ListDeletedKeysRequest, call: Call, entry: AuditDraft) => {
      const vaultId = parseVault(request.parent, 'parent');
      const vault = await guard.keyVault(vaultId, undefined, 'list', call, entry);
      const page = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
      const { items, next } = await keys.list({ ...page, index: { index: status, value: vaultId } });
      const now = clock.now();
      return { keys: items.map((loaded) => keyOnWire(loaded, vault, now)), nextPageToken: pageToken(next) };
    };

  const getKeyVersion = async ({ name }: GetKeyVersionRequest, call: Call, entry: AuditDraft) => {
    const { vault, key, version } = parseKeyOrVersion(name, 'name');
    await guard.keyVault(vault, key, 'get', call, entry);
    if (version !== undefined) entry.about(key, version);
    const found = keyVersionOnWire(await keys.load(key), version, urls);
    entry.about(key, found.name.split('/').at(-1));
    return found;
  };

  const listKeyVersions = async (request: ListKeyVersionsRequest, call: Call, entry: AuditDraft) => {
    const { vault, key } = parseKey(request.parent, 'parent');
    await guard.keyVault(vault, key, 'list', call, entry);
    const { limit, after } = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
    const loaded = await keys.load(key);
    existingVersion(loaded, undefined);
    const all = exists(loaded.state) ? Object.keys(loaded.state.versions) : [];
    const from = after === undefined ? 0 : all.indexOf(after) + 1;
    if (after !== undefined && from === 0) throw pageTokenInvalid();
    const page = all.slice(from, from + limit);
    return {
      keyVersions: page.map((version) => keyVersionOnWire(loaded, version, urls)),
      nextPageToken: pageToken(from + limit < all.length ? page.at(-1) : undefined),
    };
  };

  return {
    getKey: log.audited('KeyGet', getKey('active', keyDeleted)),
    getDeletedKey: log.audited('KeyGetDeleted', getKey('deleted', keyNotFound)),
    getKeyVersion: log.audited('KeyGet', getKeyVersion),
    listKeys: log.audited('KeyList', listKeys('active')),
    listDeletedKeys: log.audited('KeyListDeleted', listKeys('deleted')),
    listKeyVersions: log.audited('KeyListVersions', listKeyVersions),
  };
};

/**
 * A key for a change of the whole key, and its vault. A missing key is refused before a wrong etag is. A purged key exists only
 * for another purge.
 */
export const keyToChange = async (
  { guard, keys }: Pick<KeyApiParts, 'guard' | 'keys'>,
  name: string,
  permission: KeyPermission,
  call: Call,
  entry: AuditDraft,
) => {
  const { vault: vaultId, key } = parseKey(name, 'name');
  const vault = await guard.keyVault(vaultId, key, permission, call, entry);
  trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, key);
  const { state } = await keys.load(key);
  if (exists(state) || (state.status === 'purged' && permission === 'purge')) return { vault, key, state };
  throw state.status === 'purged' && permission === 'recover' ? keyGone(key) : keyNotFound(key);
};

/** Deletion, recovery and purge of keys. */
export const keyRemovalApi = (parts: KeyApiParts) => {
  const { clock, keys, log, material, confirm, life, retentionDayMs } = parts;

  const deleteKey = async (request: DeleteKeyRequest, call: Call, entry: AuditDraft) => {
    const { vault: vaultId, key } = parseKey(request.name, 'name');
    return life.during(vaultId, async (guard) => {
      const { vault, state } = await keyToChange(parts, request.name, 'delete', call, entry);
      if (state.status === 'active') await confirm.key(key, state, request.confirmName, 'delete');
      const at = clock.now();
      const decide = remove(at, at + vault.retentionDays * retentionDayMs);
      const options = { ...expectedVersion(request.etag), guard };
      return keyOnWire(await keys.transact(key, decide, call.cause, options), vault, clock.now());
    });
  };

  const recoverKey = async (request: RecoverKeyRequest, call: Call, entry: AuditDraft) => {
    const { vault, key } = await keyToChange(parts, request.name, 'recover', call, entry);
    const after = await keys.transact(key, recover(clock.now()), call.cause, expectedVersion(request.etag));
    return keyOnWire(after, vault, clock.now());
  };

  const purgeKey = async (request: PurgeKeyRequest, call: Call, entry: AuditDraft) => {
    const { vault: vaultId, key } = parseKey(request.name, 'name');
    await life.during(vaultId, async (guard) => {
      const { vault, state } = await keyToChange(parts, request.name, 'purge', call, entry);
      const decide = purge(clock.now(), vault.purgeProtected);
      // A purge that is not allowed at all is refused before a missing confirmation is.
      if (decide(state).length > 0) await confirm.key(key, state, request.confirmName, 'purge');
      await keys.transact(key, decide, call.cause, { ...expectedVersion(request.etag), guard });
    });
    await material.destroyPurged(key, call.cause);
    return {};
  };

  return {
    deleteKey: log.audited('KeyDelete', deleteKey),
    recoverKey: log.audited('KeyRecover', recoverKey),
    purgeKey: log.audited('KeyPurge', purgeKey),
  };
};

const pageTokenInvalid = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'PAGE_TOKEN_INVALID',
    'page_token must be the next_page_token of an earlier page of this list',
    { field: 'page_token' },
  );
