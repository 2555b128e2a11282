import type {
  AssignKeyRequest,
  AssociatedResource_RotationState,
  ListAssociatedResourcesRequest,
  ResumeRotationRequest,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Cause, Loaded } from '@interlock/event-store';
import { type Call, expectedVersion, names } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { askAccess, definiteReason } from '../key/key-access.ts';
import type { ChooseKey } from '../key/key-choice.ts';
import { ownersWord } from '../key/owners-word.ts';
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

  /** Why each version that disks have to leave is lost; those that can be used are left out. */
  const lossesOf = async (name: string, set: LivingSet, target: string, cause: Cause) => {
    const losses = new Map<string, LossReason>();
    for (const keyVersion of keyVersionsOf(set).filter((version) => version !== target)) {
      const known = set.access[keyVersion];
      if (known?.state === 'lost' && known.reason !== 'KEY_EXPIRED') {
        losses.set(keyVersion, known.reason);
        continue;
      }
      // What is not known as lost may be lost since: the fact can be on its way while the owner acts. And an end that has come is
      // told before a deletion, which keeps disks from moving where the end does not (CMK-124).
      const { principal } = set;
      const question = { set: name, principal, keyVersion, allowExpired: true, correlationId: cause.correlationId };
      const answer = await askAccess(disks, question);
      if (!answer.granted) losses.set(keyVersion, answer.reason);
    }
    return losses;
  };

  /**
   * Has the vault record the key owner's word, with the owner's own token (CMK-121): whoever gives it could as well have
   * made the old version usable, so a set's administrator alone cannot undo a revocation (CMK-10). No owner can for a purged
   * key: what is under it stays there (CMK-108). Keys of several owners may be lost at once: each speaks for their own, and
   * what is under the others waits.
   * @throws Rejection as `ownersWord` does, where the token is good for none of them
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
    const losses = await lossesOf(name, set, target, cause);
    const sources = [...losses].filter(([, reason]) => ownersWordNeeded.has(reason)).map(([version]) => version);
    let isGiven = false;
    const refusals: unknown[] = [];
    for (const sourceKeyVersion of sources) {
      const move = { sourceKeyVersion, targetKeyVersion: target, principal, diskEncryptionSet: name };
      try {
        await ownersWord(keyVault, move, keyOwnerToken, cause);
        isGiven = true;
      } catch (error) {
        if (definiteReason(error) === undefined) throw error;
        refusals.push(error);
      }
    }
    if (!isGiven && refusals.length > 0) throw refusals[0];
  };

  /** Takes an unfinished move up again, with the key owner's word where there is one. */
  const resume = async (
    loaded: Loaded<DiskEncryptionSet>,
    { name, keyOwnerToken, etag }: ResumeRotationRequest,
    cause: Cause,
  ): Promise<WireSet> => {
    const set = activeSet(loaded.state);
    if (set.rotation === null || set.rotation.progress.status === 'finished') return setOnWire(loaded);
    await authorize(name, set, set.activeKey.keyVersion, keyOwnerToken, cause);
    const resumed = await sets.transact(name, resumeRotation(clock.now()), cause, expectedVersion(etag));
    attend(name, cause);
    return setOnWire(resumed);
  };

  return {
    async assignKey(request: AssignKeyRequest, { cause }: Call): Promise<WireSet> {
      const { name, keyUrl, sourceVault, keyOwnerToken, etag } = request;
      const loaded = await loadAt(name, etag, cause);
      const set = activeSet(loaded.state);
      // The word that was not given with the key comes with the same wish again: what waits for it goes on.
      const again = () => (keyOwnerToken === '' ? setOnWire(loaded) : resume(loaded, request, cause));
      if (keyUrl === set.activeKey.keyUrl) return again();
      const { location, tenant, principal } = set;
      const { key } = await chooseKey({ set: name, location, keyUrl, sourceVault, tenant }, cause);
      const { keyVersion } = key;
      if (keyVersion === set.activeKey.keyVersion) return again();
      trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, keyVersion);

      // A key the identity cannot use is refused before anything has changed (CMK-87).
      const question = { set: name, principal, keyVersion, correlationId: cause.correlationId };
      const answer = await askAccess(disks, question);
      if (!answer.granted) throw answer.rejection;
      await authorize(name, set, keyVersion, keyOwnerToken, cause);

      const assign = assignKey(clock.now(), key, { epoch: answer.epoch, principal });
      const assigned = await sets.transact(name, assign, cause, expectedVersion(etag));
      attend(name, cause);
      return setOnWire(assigned);
    },

    async resumeRotation(request: ResumeRotationRequest, { cause }: Call): Promise<WireSet> {
      return resume(await loadAt(request.name, request.etag, cause), request, cause);
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
