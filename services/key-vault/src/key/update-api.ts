import type {
  DisableKeyRequest,
  DisableKeyVersionRequest,
  EnableKeyRequest,
  EnableKeyVersionRequest,
  SetKeyOperationsRequest,
  SetKeyTagsRequest,
  SetKeyVersionDatesRequest,
} from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { type Call, expectedVersion } from '@interlock/rpc';
import { DomainAttribute, type Instant } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { AuditDraft } from '../audit/draft.ts';
import { parseKey, parseVersion, versionName } from '../names.ts';
import { type KeyApiParts, keyToChange } from './api.ts';
import { checkedDates, checkedTags } from './attributes.ts';
import { disableKey, disableVersion, enableKey, enableVersion, setDates, setOperations, setTags } from './decider.ts';
import type { KeyEvent } from './events.ts';
import { exists, type Key } from './key.ts';
import { existingVersion, keyVersionOnWire, operationsFromWire } from './wire.ts';

/** Changes of versions and of whole keys, for which `update` is needed (KV-24). */
export const keyUpdateApi = (parts: KeyApiParts) => ({
  disableKey: parts.log.audited('KeyUpdate', async (request: DisableKeyRequest, call: Call, entry) => {
    const change = { text: 'disable every version', decide: disableKey(parts.clock.now()) };
    const { keyVersions, changed } = await updateKey(parts, request, change, call, entry);
    return { keyVersions, disabled: changed };
  }),
  enableKey: parts.log.audited('KeyUpdate', async (request: EnableKeyRequest, call: Call, entry) => {
    const change = { text: 'enable what was disabled with the key', decide: enableKey(parts.clock.now()) };
    const { keyVersions, changed } = await updateKey(parts, request, change, call, entry);
    return { keyVersions, enabled: changed };
  }),
  enableKeyVersion: auditedUpdate(parts, (_request: EnableKeyVersionRequest) => ({
    text: 'enable',
    decide: enableVersion,
  })),
  disableKeyVersion: auditedUpdate(parts, (_request: DisableKeyVersionRequest) => ({
    text: 'disable',
    decide: disableVersion,
  })),
  setKeyVersionDates: auditedUpdate(parts, (request: SetKeyVersionDatesRequest) => ({
    text: datesText(request),
    decide: (at, version) => setDates(at, version, checkedDates(request.notBefore, request.expireTime)),
  })),
  setKeyOperations: auditedUpdate(parts, (request: SetKeyOperationsRequest) => ({
    text: `operations: ${request.keyOperations.join(', ')}`,
    decide: (at, version) => setOperations(at, version, operationsFromWire(request.keyOperations)),
  })),
  setKeyTags: auditedUpdate(parts, (request: SetKeyTagsRequest) => ({
    text: `tags: ${Object.keys(request.tags).join(', ')}`,
    decide: (at, version) => setTags(at, version, checkedTags(request.tags)),
  })),
});

/** A request that names what it changes. */
interface Named {
  readonly name: string;
  readonly etag: string;
}

/** A change of one version, and how its audit entry describes it. */
interface VersionChange {
  readonly text: string;
  readonly decide: (at: Instant, version: string) => (key: Key) => readonly KeyEvent[];
}

/** Ends the description of a change that changed nothing. */
const unchanged = ': was so already';

const auditedUpdate = <Request extends Named>(parts: KeyApiParts, changeOf: (request: Request) => VersionChange) =>
  parts.log.audited('KeyUpdate', async (request: Request, call: Call, entry) => {
    const { clock, guard, keys, urls } = parts;
    const { text, decide } = changeOf(request);
    entry.changing(text);
    const { vault, key, version } = parseVersion(request.name, 'name');
    // Concurrent reads, because a revocation waits for them. The key is not used before the guard has admitted the caller.
    const [, known] = await Promise.all([guard.keyVault(vault, key, 'update', call, entry), keys.load(key)]);
    entry.about(key, version);
    trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, versionName(key, version));
    // A missing version is refused before a wrong etag is.
    if (request.etag !== '') existingVersion(known, version);
    const decideExisting = (state: Key): readonly KeyEvent[] => {
      existingVersion({ id: key, state }, version);
      return decide(clock.now(), version)(state);
    };
    const after = await keys.transact(key, decideExisting, call.cause, { ...expectedVersion(request.etag), known });
    if (after.events.length === 0) entry.changing(`${text}${unchanged}`);
    return keyVersionOnWire(after, version, urls);
  });

/** Changes every version of a key. @returns all of them, and the names of those that changed */
const updateKey = async (
  parts: KeyApiParts,
  request: Named,
  { text, decide }: { readonly text: string; readonly decide: (key: Key) => readonly KeyEvent[] },
  call: Call,
  entry: AuditDraft,
) => {
  const { keys, life, urls } = parts;
  entry.changing(text);
  const { vault: vaultId, key } = parseKey(request.name, 'name');
  const after = await life.during(vaultId, async (guard) => {
    const { state } = await keyToChange(parts, request.name, 'update', call, entry);
    existingVersion({ id: key, state }, undefined);
    return keys.transact(key, decide, call.cause, { ...expectedVersion(request.etag), guard });
  });
  if (after.events.length === 0) entry.changing(`${text}${unchanged}`);
  const all = exists(after.state) ? Object.keys(after.state.versions) : [];
  const changed = after.events.flatMap((event) =>
    event.type === 'KeyVersionEnabled' || event.type === 'KeyVersionDisabled' ? [event.version] : [],
  );
  return {
    keyVersions: all.map((version) => keyVersionOnWire(after, version, urls)),
    changed: changed.map((version) => versionName(key, version)),
  };
};

const datesText = ({ notBefore, expireTime }: SetKeyVersionDatesRequest): string =>
  `not before: ${notBefore?.toISOString() ?? 'none'}; expires: ${expireTime?.toISOString() ?? 'never'}`;
