import {
  type BeginGenerationRequest,
  EncryptedResource,
  type ListEncryptedResourcesRequest,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { type Category, type Cause, callingEvent, type Loaded, Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import { DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { setOf, skuOnWire } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import { listKept, mergePages, pageOfRequest } from '../listing.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';

/** What the encrypted-resources API needs: nothing of a host. */
export interface EncryptedResourcesParts {
  readonly disks: Pick<Category<Disk, DiskEvent>, 'list'>;
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'list'>;
  readonly setKeys: Pick<SetKeys, 'begin' | 'inForce'>;
}

/** What a disk encryption set needs of the store when its key changes: the barrier, and what is under the set. */
export const encryptedResourcesApi = (parts: EncryptedResourcesParts) => ({
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
    return { generation: (await parts.setKeys.begin(set, key, cause, callingEvent(cause))).generation };
  },
  listEncryptedResources: (request: ListEncryptedResourcesRequest, { cause }: Call) =>
    listEncryptedResources(parts, request, cause),
});

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
export const checkNames = (set: string, keyVersion: string, principal: string): void => {
  names.diskEncryptionSet.parse(set, 'disk_encryption_set');
  names.keyVersion.parse(keyVersion, 'key_version');
  names.principal.parse(principal, 'principal');
  trace
    .getActiveSpan()
    ?.setAttributes({ [DomainAttribute.diskEncryptionSet]: set, [DomainAttribute.keyVersion]: keyVersion });
};

const listEncryptedResources = async (
  { disks, snapshots, setKeys }: EncryptedResourcesParts,
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

/** A disk as a disk encryption set sees it. */
export const diskAsResource = ({ id: name, state }: Loaded<Disk>): EncryptedResource =>
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

/** A snapshot as a disk encryption set sees it. */
export const snapshotAsResource = ({ id: name, state }: Loaded<Snapshot>): EncryptedResource =>
  EncryptedResource.fromPartial({
    name,
    ...('keyVersion' in state ? { keyVersion: state.keyVersion, generation: state.generation } : {}),
    ...(state.status === 'absent' ? {} : { diskHost: hostNameOnWire(state.host) }),
  });
