import { type LossReason, lossReasonIn } from '@interlock/access';
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
import { askAccess } from '../key/key-access.ts';
import type { ChooseKey } from '../key/key-choice.ts';
import { authorizeMove } from '../key/owners-authorization.ts';
import { callFor, type SetParts } from '../sets.ts';
import { activeSet, setNotFound } from './decider.ts';
import { assignKey, resumeRotation } from './key-change.ts';
import { type DiskEncryptionSet, keyVersionsOf, type LivingSet, type SetBody } from './state.ts';
import { setOnWire } from './wire.ts';

/** Losses that only the key's owner can permit to move away from. An expired key still unwraps; a purged one never again. */
const needsOwner: ReadonlySet<LossReason> = new Set<LossReason>(['KEY_DISABLED', 'KEY_DELETED']);

type Parts = SetParts & {
  readonly chooseKey: ChooseKey;
  readonly schedule: (set: string, cause: Cause) => void;
};

/** The key of a set and the resources under it. */
export const keyApi = (parts: Parts) => ({
  async assignKey(request: AssignKeyRequest, { cause }: Call): Promise<WireSet> {
    const { clock, sets, disks, chooseKey, schedule } = parts;
    const { name, keyUrl, sourceVault, keyOwnerToken, etag } = request;
    const loaded = await loadAt(parts, name, etag, cause);
    const set = activeSet(loaded.state);
    // A repeated request may bring the owner's token that the first one lacked.
    const repeat = () => (keyOwnerToken === '' ? setOnWire(loaded) : resume(parts, loaded, request, cause));
    if (keyUrl === set.activeKey.keyUrl) return repeat();
    const { location, tenant, principal } = set;
    const { key } = await chooseKey({ set: name, location, keyUrl, sourceVault, tenant }, cause);
    const { keyVersion } = key;
    if (keyVersion === set.activeKey.keyVersion) return repeat();
    trace.getActiveSpan()?.setAttribute(DomainAttribute.keyVersion, keyVersion);

    // A key that the identity cannot use is refused before anything changes (CMK-87).
    const question = { set: name, principal, keyVersion, cause };
    const answer = await askAccess(disks, question);
    if (!answer.granted) throw answer.rejection;
    await authorizeByOwner(parts, name, set, keyVersion, keyOwnerToken, cause);

    const assign = assignKey(clock.now(), key, { epoch: answer.epoch, principal });
    const assigned = await sets.transact(name, assign, cause, expectedVersion(etag));
    schedule(name, cause);
    return setOnWire(assigned);
  },

  async resumeRotation(request: ResumeRotationRequest, { cause }: Call): Promise<WireSet> {
    return resume(parts, await loadAt(parts, request.name, request.etag, cause), request, cause);
  },

  async listAssociatedResources(request: ListAssociatedResourcesRequest, { cause }: Call) {
    const { name: diskEncryptionSet, pageSize, pageToken } = request;
    names.diskEncryptionSet.parse(diskEncryptionSet, 'name');
    const { state } = await parts.sets.load(diskEncryptionSet);
    if (state.status === 'absent' || state.status === 'deleted') throw setNotFound(diskEncryptionSet);
    const page = await parts.disks.listEncryptedResources({ diskEncryptionSet, pageSize, pageToken }, callFor(cause));
    const resources = page.resources.map(({ name, managedBy, keyVersion, generation }) => ({
      name,
      managedBy,
      keyVersion,
      generation,
      rotationState: rotationStateOf(state, { keyVersion, generation }),
    }));
    return { resources, nextPageToken: page.nextPageToken };
  },
});

/** Loads a set and checks the etag before anything is done for the request. */
const loadAt = async (
  { sets }: Parts,
  name: string,
  etag: string,
  cause: Cause,
): Promise<Loaded<DiskEncryptionSet>> => {
  names.diskEncryptionSet.parse(name, 'name');
  trace.getActiveSpan()?.setAttribute(DomainAttribute.diskEncryptionSet, name);
  setOnWire(await sets.load(name));
  return sets.transact(name, () => [], cause, expectedVersion(etag));
};

/** Resumes a waiting rotation, with the key owner's authorization if there is a token. */
const resume = async (
  parts: Parts,
  loaded: Loaded<DiskEncryptionSet>,
  { name, keyOwnerToken, etag }: ResumeRotationRequest,
  cause: Cause,
): Promise<WireSet> => {
  const set = activeSet(loaded.state);
  if (set.rotation === null || set.rotation.progress.status === 'finished') return setOnWire(loaded);
  await authorizeByOwner(parts, name, set, set.activeKey.keyVersion, keyOwnerToken, cause);
  const resumed = await parts.sets.transact(name, resumeRotation(parts.clock.now()), cause, expectedVersion(etag));
  parts.schedule(name, cause);
  return setOnWire(resumed);
};

/**
 * Records the key owner's authorization at the vault, with the owner's own token (CMK-121): an owner could as well have
 * enabled the old version, so a set's administrator alone cannot undo a revocation (CMK-10). No owner can authorize a move from
 * a purged key (CMK-108). If keys of several owners are lost, the token counts for its owner's keys; the others wait.
 * @throws Rejection as `authorizeMove` does, if the token is valid for none of them
 */
const authorizeByOwner = async (
  parts: Parts,
  name: string,
  set: LivingSet,
  targetKeyVersion: string,
  keyOwnerToken: string,
  cause: Cause,
): Promise<void> => {
  if (keyOwnerToken === '') return;
  const losses = await lossesOf(parts, name, set, targetKeyVersion, cause);
  let isAuthorized = false;
  const refusals: unknown[] = [];
  for (const [sourceKeyVersion, reason] of losses) {
    if (!needsOwner.has(reason)) continue;
    const move = { sourceKeyVersion, targetKeyVersion, principal: set.principal, diskEncryptionSet: name };
    try {
      await authorizeMove(parts.keyVault, move, keyOwnerToken, cause);
      isAuthorized = true;
    } catch (error) {
      if (lossReasonIn(error) === undefined) throw error;
      refusals.push(error);
    }
  }
  if (!isAuthorized && refusals.length > 0) throw refusals[0];
};

/** Versions that disks have to leave and that are lost, with the reason. */
const lossesOf = async (
  { disks }: Parts,
  name: string,
  set: LivingSet,
  target: string,
  cause: Cause,
): Promise<ReadonlyMap<string, LossReason>> => {
  const losses = new Map<string, LossReason>();
  for (const keyVersion of keyVersionsOf(set).filter((version) => version !== target)) {
    const known = set.access[keyVersion];
    if (known?.state === 'lost' && known.reason !== 'KEY_EXPIRED') {
      losses.set(keyVersion, known.reason);
      continue;
    }
    // The fact of a loss may be on its way. An expired key may be deleted too, and only a deletion blocks disks (CMK-124).
    const question = { set: name, principal: set.principal, keyVersion, allowExpired: true, cause };
    const answer = await askAccess(disks, question);
    if (!answer.granted) losses.set(keyVersion, answer.reason);
  }
  return losses;
};

const rotationStateOf = (
  set: SetBody,
  { keyVersion, generation }: { readonly keyVersion: string; readonly generation: number },
): AssociatedResource_RotationState => {
  if (keyVersion === '') return 'ROTATION_STATE_UNSPECIFIED';
  if (generation >= set.generation) return 'CURRENT';
  return set.rotation?.progress.status === 'waiting' ? 'BLOCKED' : 'PENDING';
};
