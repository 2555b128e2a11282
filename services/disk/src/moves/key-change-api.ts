import {
  type BeginGenerationRequest,
  type CheckKeyAccessRequest,
  EncryptedResource,
  type ListEncryptedResourcesRequest,
  type RewrapDeksRequest,
  type RewrapDeksResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { type Category, type Cause, type Loaded, Rejection } from '@interlock/event-store';
import { type Call, names, settleItems } from '@interlock/rpc';
import { DomainAttribute, type Logger } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { setOf, skuOnWire } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { listKept, mergePages, pageOfRequest } from '../disk/listing.ts';
import type { Disk } from '../disk/state.ts';
import type { Background } from '../host/background.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import type { Vault } from '../host/keys/vault.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { Step } from './cohort.ts';
import type { Rewrapping } from './rewrapping.ts';

/** Disks and snapshots of one `RewrapDeks`: as many as the vault takes in one call. */
const batchMax = 256;

/** What a move may take once there is room for it, in ms: twenty times what it takes where nothing holds it up. */
const moveMs = 1_000;

/** What a disk encryption set needs when its key is checked or changed. */
export const keyChangeApi = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly vault: Vault;
  readonly setKeys: SetKeys;
  readonly rewrapping: Rewrapping;
  readonly background: Pick<Background, 'run'>;
  readonly log: Logger;
}) => {
  const { disks, snapshots, vault, setKeys, rewrapping, background, log } = parts;

  const kindOf = (name: string): 'disk' | 'snapshot' => {
    const kind = name.split('/').at(-2) === 'snapshots' ? 'snapshot' : 'disk';
    names[kind].parse(name, 'name');
    return kind;
  };
  const leftBelow = async (set: string, generation: number, cause: Cause): Promise<Left> => {
    const inForce = await setKeys.inForce(set, cause);
    return inForce.generation === generation ? { generation, keyVersion: inForce.keyVersion } : { generation };
  };
  const rewrapOne = async (
    name: string,
    target: Omit<RewrapDeksRequest, 'names'>,
    { cause, signal, remainingMs }: Pick<Call, 'cause' | 'signal' | 'remainingMs'>,
    step: Step,
  ): Promise<EncryptedResource> => {
    // It waited for room until its caller had gone, or nearly so: who asks again is told in time, and nothing is begun in vain.
    if (signal.aborted || remainingMs() < moveMs) throw busy(name);
    const kind = kindOf(name);
    const { targetKeyVersion: keyVersion, generation } = target;
    names.keyVersion.parse(keyVersion, 'target_key_version');
    const moved = await rewrapping({ name, kind }, { keyVersion, generation }, cause, step);
    return moved.kind === 'disk' ? diskAsResource(moved.now) : snapshotAsResource(moved.now);
  };

  return {
    async checkKeyAccess(request: CheckKeyAccessRequest) {
      const { diskEncryptionSet: set, keyVersion, principal, allowExpired } = request;
      names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      names.keyVersion.parse(keyVersion, 'key_version');
      names.principal.parse(principal, 'principal');
      mark(set, keyVersion);
      return (await vault.check({ set, keyVersion, principal, resource: '' }, undefined, { allowExpired })).access;
    },
    async beginGeneration(request: BeginGenerationRequest, { cause }: Call) {
      const { diskEncryptionSet: set, generation, keyVersion, principal } = request;
      names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      names.keyVersion.parse(keyVersion, 'key_version');
      names.principal.parse(principal, 'principal');
      if (generation < 1) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'GENERATION_INVALID',
          `generation must be 1 or more, not ${generation}`,
          { field: 'generation' },
        );
      }
      mark(set, keyVersion);
      return { generation: (await setKeys.begin(set, { principal, keyVersion, generation }, cause)).generation };
    },
    async listEncryptedResources(request: ListEncryptedResourcesRequest, { cause }: Call) {
      const { diskEncryptionSet: set, belowGeneration } = request;
      names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      const left = belowGeneration === 0 ? undefined : await leftBelow(set, belowGeneration, cause);
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
    },
    async rewrapDeks({ names: resources, ...target }: RewrapDeksRequest, call: Call): Promise<RewrapDeksResponse> {
      const outcomes = await settleItems(resources, { sizeMax: batchMax, log }, (name) =>
        background.run((step) => rewrapOne(name, target, call, step)),
      );
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'moved', value: outcome.answer }
              : { $case: 'refused', value: { ...outcome.refused } },
        })),
      };
    },
  };
};

const busy = (resource: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_BUSY',
    `${resource} waited for room beside guests for nearly all of its call: ask again`,
    {
      resource,
    },
  );

const mark = (set: string, keyVersion: string): void => {
  trace
    .getActiveSpan()
    ?.setAttributes({ [DomainAttribute.diskEncryptionSet]: set, [DomainAttribute.keyVersion]: keyVersion });
};

/** What a change of key has left behind: what is under an older generation, or under another version than that of the change. */
interface Left {
  readonly generation: number;
  /** Absent where another generation is in force. */
  readonly keyVersion?: string;
}

/**
 * Whether a resource is listed. One that is being made is a user of the set, but never left behind by a change of key: it
 * is committed under the generation in force or not at all. One that is moving to the set may be left behind by a crash. After a
 * restore a generation has a number that another one had before, by which headers were moved that are believed: what is under
 * that one's version is left behind as well.
 * @param left undefined: whatever uses the set
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
    openByMachine: 'access' in state && state.access?.by === 'machine',
  });

const snapshotAsResource = ({ id: name, state }: Loaded<Snapshot>): EncryptedResource =>
  EncryptedResource.fromPartial({
    name,
    ...('keyVersion' in state ? { keyVersion: state.keyVersion, generation: state.generation } : {}),
  });
