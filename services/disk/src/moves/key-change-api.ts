import {
  type BeginGenerationRequest,
  type CheckKeyAccessRequest,
  EncryptedResource,
  type ListEncryptedResourcesRequest,
  type RewrapDeksRequest,
  type RewrapDeksResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { type Cause, callingEvent, type Loaded, Rejection, writeEvent } from '@interlock/event-store';
import { type Call, names, settleItems } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type Control, isSnapshotName } from '../disk/control.ts';
import { setOf, skuOnWire } from '../disk/encryption.ts';
import { type Disk, diskSteps } from '../disk/state.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import { listKept, mergePages, pageOfRequest } from '../listing.ts';
import { type Snapshot, snapshotSteps } from '../snapshot/decider.ts';
import type { Step } from '../step-barrier.ts';
import { rewrapDek } from './rewrapping.ts';

/** Most disks and snapshots of one `RewrapDeks`: as many as the vault takes in one call. */
const batchMax = 256;

/** Longest duration of a move, in ms: twenty times that of a move without other load. */
const moveMs = 1_000;

/** What a disk encryption set needs when its key is checked or changed. */
export const keyChangeApi = (control: Control) => ({
  async checkKeyAccess({ diskEncryptionSet: set, keyVersion, principal, allowExpired }: CheckKeyAccessRequest) {
    checkNames(set, keyVersion, principal);
    return control.host.checkKey({ set, keyVersion, principal, resource: '' }, undefined, { allowExpired });
  },
  async beginGeneration(request: BeginGenerationRequest, { cause }: Call) {
    const { diskEncryptionSet: set, generation, keyVersion, principal } = request;
    checkNames(set, keyVersion, principal);
    if (generation < 1) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'GENERATION_INVALID',
        `generation must be 1 or more (got ${generation})`,
        { field: 'generation' },
      );
    }
    const key = { principal, keyVersion, generation };
    return { generation: (await control.setKeys.begin(set, key, cause, callingEvent(cause))).generation };
  },
  listEncryptedResources: (request: ListEncryptedResourcesRequest, { cause }: Call) =>
    listEncryptedResources(control, request, cause),
  async rewrapDeks({ names: resources, ...target }: RewrapDeksRequest, call: Call): Promise<RewrapDeksResponse> {
    const outcomes = await settleItems(resources, { sizeMax: batchMax, log: control.log }, (name) =>
      control.host.inBackground((step) => rewrapOne(control, name, target, call, step)),
    );
    return {
      outcomes: outcomes.map((outcome) =>
        'answer' in outcome
          ? { outcome: { $case: 'moved', value: outcome.answer.resource }, event: writeEvent(outcome.answer.event) }
          : { outcome: { $case: 'refused', value: { ...outcome.refused } }, event: '' },
      ),
    };
  },
});

const checkNames = (set: string, keyVersion: string, principal: string): void => {
  names.diskEncryptionSet.parse(set, 'disk_encryption_set');
  names.keyVersion.parse(keyVersion, 'key_version');
  names.principal.parse(principal, 'principal');
  trace
    .getActiveSpan()
    ?.setAttributes({ [DomainAttribute.diskEncryptionSet]: set, [DomainAttribute.keyVersion]: keyVersion });
};

const listEncryptedResources = async (
  { disks, snapshots, setKeys }: Control,
  request: ListEncryptedResourcesRequest,
  cause: Cause,
) => {
  const { diskEncryptionSet: set, belowGeneration } = request;
  names.diskEncryptionSet.parse(set, 'disk_encryption_set');
  const left = belowGeneration === 0 ? undefined : await leftBelow(setKeys, set, belowGeneration, cause);
  const page = pageOfRequest(request);
  const query = { ...page, index: { index: 'set', value: set } };
  const [ofDisks, ofSnapshots] = await Promise.all([
    listKept(disks, query, ({ state }) => isListed(state, set, left)),
    listKept(snapshots, query, ({ state }) => isListed(state, set, left)),
  ]);
  const pages = [
    { items: ofDisks.items.map((disk) => ({ id: disk.id, resource: diskAsResource(disk) })), next: ofDisks.next },
    {
      items: ofSnapshots.items.map((taken) => ({ id: taken.id, resource: snapshotAsResource(taken) })),
      next: ofSnapshots.next,
    },
  ];
  const { items, nextPageToken } = mergePages(pages, page.limit);
  return { resources: items.map(({ resource }) => resource), nextPageToken };
};

const leftBelow = async (
  setKeys: Pick<SetKeys, 'inForce'>,
  set: string,
  generation: number,
  cause: Cause,
): Promise<Left> => {
  const inForce = await setKeys.inForce(set, cause);
  return inForce.generation === generation ? { generation, keyVersion: inForce.keyVersion } : { generation };
};

const rewrapOne = async (
  control: Control,
  name: string,
  { targetKeyVersion: keyVersion, generation }: Omit<RewrapDeksRequest, 'names'>,
  { cause, signal, remainingMs }: Pick<Call, 'cause' | 'signal' | 'remainingMs'>,
  step: Step,
): Promise<{ readonly resource: EncryptedResource; readonly event: string }> => {
  // It waited until its deadline was near, or its caller had gone: the caller learns in time to call again.
  if (signal.aborted || remainingMs() < moveMs) throw busy(name);
  names[isSnapshotName(name) ? 'snapshot' : 'disk'].parse(name, 'name');
  names.keyVersion.parse(keyVersion, 'target_key_version');
  const moved = await rewrapDek(control, name, { keyVersion, generation }, cause, step);
  return moved.kind === 'disk'
    ? { resource: diskAsResource(moved.now), event: diskSteps(name, moved.now.state, 'key')[0] ?? '' }
    : { resource: snapshotAsResource(moved.now), event: snapshotSteps(name, moved.now.state, 'key')[0] ?? '' };
};

const busy = (resource: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_BUSY',
    `${resource} waited behind the I/O of guests until the deadline of its call: try again`,
    { resource },
  );

/** What a key change has not moved: what is under an older generation, or under another version than that of the change. */
interface Left {
  readonly generation: number;
  /** Absent if another generation is in force. */
  readonly keyVersion?: string;
}

/**
 * Whether a resource is listed. One in the making uses the set, but a key change never leaves it behind: it is committed under the
 * generation in force or not at all. A disk that moves to the set may be left behind by a crash. After a restore of the store a
 * generation may get a number that an earlier one had, and headers may be under that one's version: they are left behind as well.
 * @param left undefined: every resource of the set
 */
const isListed = (state: Disk | Snapshot, set: string, left: Left | undefined): boolean => {
  if (left === undefined) return true;
  if (state.status === 'absent' || state.status === 'creating') return false;
  const isMovingHere = 'changing' in state && state.changing !== null && setOf(state.changing.encryption) === set;
  if (isMovingHere || setOf(state.encryption) !== set) return isMovingHere;
  return state.generation < left.generation || (left.keyVersion ?? state.keyVersion) !== state.keyVersion;
};

const diskAsResource = ({ id: name, state }: Loaded<Disk>): EncryptedResource =>
  EncryptedResource.fromPartial({
    name,
    ...(state.status === 'absent' ? {} : { sku: skuOnWire[state.sku] }),
    ...('keyVersion' in state
      ? {
          keyVersion: state.keyVersion,
          generation: state.generation,
          managedBy: state.holder?.virtualMachine ?? '',
          accessEpoch: state.accessEpoch,
        }
      : {}),
    ...(state.status === 'absent' ? {} : { diskHost: hostNameOnWire(state.host) }),
    openByMachine: 'access' in state && state.access?.by === 'machine',
  });

const snapshotAsResource = ({ id: name, state }: Loaded<Snapshot>): EncryptedResource =>
  EncryptedResource.fromPartial({
    name,
    ...('keyVersion' in state ? { keyVersion: state.keyVersion, generation: state.generation } : {}),
    ...(state.status === 'absent' ? {} : { diskHost: hostNameOnWire(state.host) }),
  });
