import type {
  AssignKeyRequest,
  AssociatedResource_RotationState,
  ListAssociatedResourcesRequest,
  ResumeRotationRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { type Cause, type Loaded, Rejection } from '@interlock/event-store';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { askAccess } from '../key-access.ts';
import type { ChooseKey } from '../key-choice.ts';
import { callFor, type SetParts } from '../sets.ts';
import { activeSet, setNotFound } from './decider.ts';
import { assignKey, resumeRotation } from './key-change.ts';
import type { LossReason } from './reasons.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet, type SetBody } from './state.ts';
import { setOnWire } from './wire.ts';

/** Versions that move only with their owner's word. An expired one unwraps still; a purged one never again. */
const ownersWordNeeded: ReadonlySet<LossReason> = new Set<LossReason>(['KEY_DISABLED', 'KEY_DELETED']);

/** The key of a set and what is under it: request in, resource out. */
export const keyApi = (
  parts: SetParts & { readonly chooseKey: ChooseKey; readonly attend: (set: string, cause: Cause) => void },
) => {
  const { clock, sets, disks, keyVault, chooseKey, attend } = parts;

  const loadAt = async (name: string, etag: string, cause: Cause): Promise<Loaded<DiskEncryptionSet>> => {
    names.diskEncryptionSet.parse(name, 'name');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
    setOnWire(await sets.load(name));
    // Decides nothing, but holds the etag against the set before anything is done for the request.
    return sets.transact(name, () => [], cause, expectedVersion(etag));
  };

  /** The versions that disks have to leave and that cannot be left without the owner's word. */
  const sourcesInNeed = async (name: string, set: LivingSet, target: string, cause: Cause): Promise<string[]> => {
    const needed: string[] = [];
    for (const keyVersion of keyVersionsOf(set).filter((version) => version !== target)) {
      const known = set.access[keyVersion];
      if (known?.state === 'lost' && ownersWordNeeded.has(known.reason)) needed.push(keyVersion);
      if (known?.state === 'lost') continue;
      // What is not known as lost may be lost since: the fact can be on its way while the owner acts.
      const { principal } = set;
      const question = { set: name, principal, keyVersion, correlationId: cause.correlationId };
      const answer = await askAccess(disks, question);
      if (!answer.granted && ownersWordNeeded.has(answer.reason)) needed.push(keyVersion);
    }
    return needed;
  };

  /**
   * Has the vault record the key owner's word, with the owner's own token (CMK-121): whoever gives it could as well have
   * made the old version usable, so a set's administrator alone cannot undo a revocation (CMK-10).
   */
  const authorize = async (
    name: string,
    set: LivingSet,
    target: string,
    keyOwnerToken: string,
    cause: Cause,
  ): Promise<void> => {
    if (keyOwnerToken === '') return;
    const { principal } = set;
    for (const sourceKeyVersion of await sourcesInNeed(name, set, target, cause)) {
      try {
        await keyVault.authorizeRewrap(
          { sourceKeyVersion, targetKeyVersion: target, principal, diskEncryptionSet: name },
          { ...callFor(cause), token: keyOwnerToken },
        );
      } catch (error) {
        throw error instanceof Rejection && error.code === 'UNAUTHENTICATED' ? ownerTokenInvalid(error) : error;
      }
    }
  };

  return {
    async assignKey(request: AssignKeyRequest, { cause }: Call): Promise<WireSet> {
      const { name, keyUrl, sourceVault, keyOwnerToken, etag } = request;
      const loaded = await loadAt(name, etag, cause);
      const set = activeSet(loaded.state);
      if (keyUrl === set.activeKey.keyUrl) return setOnWire(loaded);
      const { location, tenant, principal } = set;
      const { key } = await chooseKey({ set: name, location, keyUrl, sourceVault, tenant }, cause);
      const { keyVersion } = key;
      if (keyVersion === set.activeKey.keyVersion) return setOnWire(loaded);
      trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, keyVersion);

      // A key the identity cannot use is refused before anything has changed (CMK-87).
      const question = { set: name, principal, keyVersion, correlationId: cause.correlationId };
      const answer = await askAccess(disks, question);
      if (!answer.granted) throw answer.rejection;
      await authorize(name, set, keyVersion, keyOwnerToken, cause);

      const assigned = await sets.transact(
        name,
        assignKey(clock.now(), key, { epoch: answer.epoch, principal }),
        cause,
        expectedVersion(etag),
      );
      attend(name, cause);
      return setOnWire(assigned);
    },

    async resumeRotation({ name, keyOwnerToken, etag }: ResumeRotationRequest, { cause }: Call): Promise<WireSet> {
      const loaded = await loadAt(name, etag, cause);
      const set = activeSet(loaded.state);
      if (set.rotation === null || set.rotation.progress.status === 'finished') return setOnWire(loaded);
      await authorize(name, set, set.activeKey.keyVersion, keyOwnerToken, cause);
      const resumed = await sets.transact(name, resumeRotation(clock.now()), cause, expectedVersion(etag));
      attend(name, cause);
      return setOnWire(resumed);
    },

    async listAssociatedResources(request: ListAssociatedResourcesRequest, { cause }: Call) {
      const { name: diskEncryptionSet, pageSize, pageToken } = request;
      names.diskEncryptionSet.parse(diskEncryptionSet, 'name');
      const { state } = await sets.load(diskEncryptionSet);
      if (state.status === 'absent' || state.status === 'deleted') throw setNotFound(diskEncryptionSet);
      const page = await disks.listEncryptedResources({ diskEncryptionSet, pageSize, pageToken }, callFor(cause));
      const resources = page.resources.map(({ name, managedBy, keyVersion, generation }) => ({
        name,
        managedBy,
        keyVersion,
        generation,
        rotationState: rotationStateOf(state, { keyVersion, generation }),
      }));
      return { resources, nextPageToken: page.nextPageToken };
    },
  };
};

const rotationStateOf = (
  set: SetBody,
  { keyVersion, generation }: { readonly keyVersion: string; readonly generation: number },
): AssociatedResource_RotationState => {
  if (keyVersion === '') return 'ROTATION_STATE_UNSPECIFIED';
  if (generation >= set.generation) return 'CURRENT';
  return set.rotation?.progress.status === 'waiting' ? 'BLOCKED' : 'PENDING';
};

const ownerTokenInvalid = (cause: Rejection): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OWNER_TOKEN_INVALID',
    `key_owner_token must be a valid access token for the vault: the vault refused it (${cause.reason})`,
    { field: 'key_owner_token', vault_reason: cause.reason },
    { cause },
  );
