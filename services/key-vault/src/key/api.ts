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
  DisableKeyRequest,
  DisableKeyVersionRequest,
  EnableKeyRequest,
  EnableKeyVersionRequest,
  GetKeyVersionRequest,
  ListKeyVersionsRequest,
  SetKeyOperationsRequest,
  SetKeyTagsRequest,
  SetKeyVersionDatesRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { type Category, Rejection } from '@interlock/event-store';
import { type Call, expectedVersion, pageOf, pageToken } from '@interlock/rpc';
import { type Clock, DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Guard } from '../access/guard.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import { type KeyUrls, parseKey, parseKeyOrVersion, parseVault, parseVersion, versionName } from '../names.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import type { KeyPermission } from '../vault/events.ts';
import type { VaultLife } from '../vault/life.ts';
import { checkedDates, checkedTags } from './attributes.ts';
import type { Confirmation } from './confirmation.ts';
import {
  disableKey,
  disableVersion,
  enableKey,
  enableVersion,
  keyDeleted,
  keyGone,
  keyNotFound,
  purge,
  recover,
  remove,
  setDates,
  setOperations,
  setTags,
} from './decider.ts';
import type { KeyEvent } from './events.ts';
import { isStanding, type Key } from './key.ts';
import { existingVersion, keyOnWire, keyVersionOnWire, operationsFromWire } from './wire.ts';

/** Keys and versions of a page when the request does not say (KV-23). */
const pageSizeDefault = 25;

/** The life of keys and their versions: request in, resource out. */
export const keyApi = (parts: {
  readonly clock: Clock;
  readonly keys: Category<Key, KeyEvent>;
  readonly guard: Guard;
  readonly log: AuditLog;
  readonly urls: KeyUrls;
  readonly material: KeyMaterial;
  readonly confirm: Confirmation;
  readonly life: VaultLife;
  readonly retentionDayMs: number;
}) => {
  const { clock, keys, guard, log, urls, material, confirm, life, retentionDayMs } = parts;

  /** A change of one version, for which `update` is needed (KV-24). */
  const updateVersion = async (
    request: { readonly name: string; readonly etag: string },
    change: string,
    decide: (version: string) => (key: Key) => readonly KeyEvent[],
    call: Call,
    entry: AuditDraft,
  ) => {
    entry.changing(change);
    const { vault, key, version } = parseVersion(request.name, 'name');
    // Read beside each other: a revocation waits for this. Nothing is told of the key before the guard has let the caller pass.
    const [, known] = await Promise.all([guard.keyVault(vault, key, 'update', call, entry), keys.load(key)]);
    entry.about(key, version);
    trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, versionName(key, version));
    // That something is not there precedes that its etag is another.
    if (request.etag !== '') existingVersion(known, version);
    const decideExisting = (state: Key): readonly KeyEvent[] => {
      existingVersion({ id: key, state }, version);
      return decide(version)(state);
    };
    const after = await keys.transact(key, decideExisting, call.cause, { ...expectedVersion(request.etag), known });
    if (after.events.length === 0) entry.changing(`${change}${soAlready}`);
    return keyVersionOnWire(after, version, urls);
  };

  /** A change of every version, for which `update` is needed as for one. @returns them all, and which of them it changed */
  const updateKey = async (
    request: { readonly name: string; readonly etag: string },
    change: string,
    decide: (key: Key) => readonly KeyEvent[],
    call: Call,
    entry: AuditDraft,
  ) => {
    entry.changing(change);
    const { vault: vaultId, key } = parseKey(request.name, 'name');
    const after = await life.during(vaultId, async (guard) => {
      const { state } = await changing(request.name, 'update', call, entry);
      existingVersion({ id: key, state }, undefined);
      return keys.transact(key, decide, call.cause, { ...expectedVersion(request.etag), guard });
    });
    if (after.events.length === 0) entry.changing(`${change}${soAlready}`);
    const all = isStanding(after.state) ? Object.keys(after.state.versions) : [];
    const changed = after.events.flatMap((event) =>
      event.type === 'KeyVersionEnabled' || event.type === 'KeyVersionDisabled' ? [event.version] : [],
    );
    return {
      keyVersions: all.map((version) => keyVersionOnWire(after, version, urls)),
      changed: changed.map((version) => versionName(key, version)),
    };
  };

  const listed = async (
    request: { readonly parent: string; readonly pageSize: number; readonly pageToken: string },
    status: 'active' | 'deleted',
    call: Call,
    entry: AuditDraft,
  ) => {
    const vaultId = parseVault(request.parent, 'parent');
    const vault = await guard.keyVault(vaultId, undefined, 'list', call, entry);
    const page = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
    const { items, next } = await keys.list({ ...page, index: { index: status, value: vaultId } });
    const now = clock.now();
    return { keys: items.map((loaded) => keyOnWire(loaded, vault, now)), nextPageToken: pageToken(next) };
  };

  /**
   * A key for a change of the whole of it, with the vault that decides about its retention. That a key is not there precedes
   * that its etag is another; of one that is purged a purge alone has something to say.
   */
  const changing = async (name: string, permission: KeyPermission, call: Call, entry: AuditDraft) => {
    const { vault: vaultId, key } = parseKey(name, 'name');
    const vault = await guard.keyVault(vaultId, key, permission, call, entry);
    trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, key);
    const { state } = await keys.load(key);
    if (isStanding(state) || (state.status === 'purged' && permission === 'purge')) return { vault, key, state };
    throw state.status === 'purged' && permission === 'recover' ? keyGone(key) : keyNotFound(key);
  };

  return {
    getKey: log.audited('KeyGet', async ({ name }: GetKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'get', call, entry);
      const loaded = await keys.load(key);
      if (loaded.state.status === 'deleted') throw keyDeleted(key);
      return keyOnWire(loaded, vault, clock.now());
    }),
    getKeyVersion: log.audited('KeyGet', async ({ name }: GetKeyVersionRequest, call: Call, entry) => {
      const { vault, key, version } = parseKeyOrVersion(name, 'name');
      await guard.keyVault(vault, key, 'get', call, entry);
      if (version !== undefined) entry.about(key, version);
      const answer = keyVersionOnWire(await keys.load(key), version, urls);
      entry.about(key, answer.name.split('/').at(-1));
      return answer;
    }),
    listKeys: log.audited('KeyList', (request: ListKeysRequest, call: Call, entry) =>
      listed(request, 'active', call, entry),
    ),
    listDeletedKeys: log.audited('KeyListDeleted', (request: ListDeletedKeysRequest, call: Call, entry) =>
      listed(request, 'deleted', call, entry),
    ),
    listKeyVersions: log.audited('KeyListVersions', async (request: ListKeyVersionsRequest, call: Call, entry) => {
      const { vault, key } = parseKey(request.parent, 'parent');
      await guard.keyVault(vault, key, 'list', call, entry);
      const { limit, after } = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
      const loaded = await keys.load(key);
      existingVersion(loaded, undefined);
      const all = isStanding(loaded.state) ? Object.keys(loaded.state.versions) : [];
      const from = after === undefined ? 0 : all.indexOf(after) + 1;
      if (after !== undefined && from === 0) throw pageTokenInvalid();
      const page = all.slice(from, from + limit);
      return {
        keyVersions: page.map((version) => keyVersionOnWire(loaded, version, urls)),
        nextPageToken: pageToken(from + limit < all.length ? page.at(-1) : undefined),
      };
    }),
    getDeletedKey: log.audited('KeyGetDeleted', async ({ name }: GetDeletedKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(name, 'name');
      const vault = await guard.keyVault(vaultId, key, 'get', call, entry);
      const loaded = await keys.load(key);
      if (loaded.state.status !== 'deleted') throw keyNotFound(key);
      return keyOnWire(loaded, vault, clock.now());
    }),
    disableKey: log.audited('KeyUpdate', async (request: DisableKeyRequest, call: Call, entry) => {
      const { keyVersions, changed } = await updateKey(
        request,
        'disable every version',
        disableKey(clock.now()),
        call,
        entry,
      );
      return { keyVersions, disabled: changed };
    }),
    enableKey: log.audited('KeyUpdate', async (request: EnableKeyRequest, call: Call, entry) => {
      const { keyVersions, changed } = await updateKey(
        request,
        'enable what was disabled with the key',
        enableKey(clock.now()),
        call,
        entry,
      );
      return { keyVersions, enabled: changed };
    }),
    enableKeyVersion: log.audited('KeyUpdate', (request: EnableKeyVersionRequest, call: Call, entry) =>
      updateVersion(request, 'enable', (version) => enableVersion(clock.now(), version), call, entry),
    ),
    disableKeyVersion: log.audited('KeyUpdate', (request: DisableKeyVersionRequest, call: Call, entry) =>
      updateVersion(request, 'disable', (version) => disableVersion(clock.now(), version), call, entry),
    ),
    setKeyVersionDates: log.audited('KeyUpdate', (request: SetKeyVersionDatesRequest, call: Call, entry) =>
      updateVersion(
        request,
        datesInWords(request),
        (version) => setDates(clock.now(), version, checkedDates(request.notBefore, request.expireTime)),
        call,
        entry,
      ),
    ),
    setKeyOperations: log.audited('KeyUpdate', (request: SetKeyOperationsRequest, call: Call, entry) =>
      updateVersion(
        request,
        `operations: ${request.keyOperations.join(', ')}`,
        (version) => setOperations(clock.now(), version, operationsFromWire(request.keyOperations)),
        call,
        entry,
      ),
    ),
    setKeyTags: log.audited('KeyUpdate', (request: SetKeyTagsRequest, call: Call, entry) =>
      updateVersion(
        request,
        `tags: ${Object.keys(request.tags).join(', ')}`,
        (version) => setTags(clock.now(), version, checkedTags(request.tags)),
        call,
        entry,
      ),
    ),
    deleteKey: log.audited('KeyDelete', async (request: DeleteKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(request.name, 'name');
      return life.during(vaultId, async (guard) => {
        const { vault, state } = await changing(request.name, 'delete', call, entry);
        if (state.status === 'active') await confirm.key(key, state, request.confirmName, 'delete');
        const at = clock.now();
        const decide = remove(at, at + vault.retentionDays * retentionDayMs);
        const options = { ...expectedVersion(request.etag), guard };
        return keyOnWire(await keys.transact(key, decide, call.cause, options), vault, clock.now());
      });
    }),
    recoverKey: log.audited('KeyRecover', async (request: RecoverKeyRequest, call: Call, entry) => {
      const { vault, key } = await changing(request.name, 'recover', call, entry);
      const decide = recover(clock.now());
      return keyOnWire(await keys.transact(key, decide, call.cause, expectedVersion(request.etag)), vault, clock.now());
    }),
    purgeKey: log.audited('KeyPurge', async (request: PurgeKeyRequest, call: Call, entry) => {
      const { vault: vaultId, key } = parseKey(request.name, 'name');
      await life.during(vaultId, async (guard) => {
        const { vault, state } = await changing(request.name, 'purge', call, entry);
        const decide = purge(clock.now(), vault.purgeProtected);
        // What stands in the way of the purge itself is told first: no name helps against that.
        if (decide(state).length > 0) await confirm.key(key, state, request.confirmName, 'purge');
        await keys.transact(key, decide, call.cause, { ...expectedVersion(request.etag), guard });
      });
      await material.destroyPurged(key, call.cause);
      return {};
    }),
  };
};

/** Ends what a record says of a change that changed nothing. */
const soAlready = ': was so already';

const datesInWords = ({ notBefore, expireTime }: Pick<SetKeyVersionDatesRequest, 'notBefore' | 'expireTime'>): string =>
  `not before: ${notBefore?.toISOString() ?? 'none'}; expires: ${expireTime?.toISOString() ?? 'never'}`;

const pageTokenInvalid = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'PAGE_TOKEN_INVALID',
    'page_token must be the next_page_token of an earlier answer',
    { field: 'page_token' },
  );
