import {
  type Disk_Availability,
  type Disk_ProvisioningState,
  type Disk_State,
  Disk as WireDisk,
} from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { Fleet } from '../fleet/fleet.ts';
import { hostOnWire, movesOnWire } from '../fleet/wire.ts';
import type { KeyUnavailable } from '../host/keys/key-reasons.ts';
import { accessAt } from './decider.ts';
import { encryptionOnWire, setOf, skuOnWire } from './encryption.ts';
import type { Disk } from './state.ts';

/** Properties of a disk that are not in its events. They are computed when it is read, so that a loss costs nothing per disk. */
export interface DiskSurroundings {
  readonly at: Instant;
  readonly loss: KeyUnavailable | undefined;
  /** Whether a running machine keeps its reads and writes nevertheless (CMK-102). */
  readonly isPinned: boolean;
  readonly allocatedBytes: number;
  readonly fleet: Pick<Fleet, 'conditionOf'>;
}

const unavailable = ({ reason, since, event, correlationId = '', traceparent = '' }: KeyUnavailable) => ({
  unavailableReason: reason,
  unavailableSince: new Date(since),
  ...(event === undefined ? {} : { unavailableOrigin: { cause: event, correlationId, traceparent } }),
});

/** A disk as the API shows it. Needs no key (CMK-109). @throws Rejection NOT_FOUND DISK_NOT_FOUND */
export const diskOnWire = ({ id: name, state, version }: Loaded<Disk>, around: DiskSurroundings): WireDisk => {
  if (state.status === 'absent') throw diskNotFound(name);
  const { location, sku, sizeGib, encryption, source, uniqueId } = state;
  const spec = {
    name,
    location,
    sku: skuOnWire[sku],
    sizeGib,
    encryption: encryptionOnWire(encryption),
    source,
    uniqueId,
    etag: String(version),
    provisioningState: provisioningStateOf(state),
    allocatedBytes: around.allocatedBytes,
    ...hostOnWire(state.host, around.fleet),
    ...movesOnWire(state),
  };
  if (state.status === 'creating')
    return WireDisk.fromPartial({ ...spec, state: 'UNATTACHED', availability: 'AVAILABLE' });
  const { loss } = around;
  return WireDisk.fromPartial({
    ...spec,
    keyVersion: state.keyVersion,
    generation: state.generation,
    attachEpoch: state.attachEpoch,
    state: stateOf(state, around.at),
    availability: availabilityOf(around),
    ...(loss === undefined ? {} : unavailable(loss)),
    managedBy: state.holder?.virtualMachine ?? '',
    createTime: new Date(state.createdAt),
  });
};

/** The key a disk depends on; undefined under a key of the platform, and before it exists. */
export const keyOf = (state: Disk): { readonly set: string; readonly keyVersion: string } | undefined =>
  'keyVersion' in state && state.keyVersion !== ''
    ? { set: setOf(state.encryption), keyVersion: state.keyVersion }
    : undefined;

/** The refusal of a name that has no disk. */
export const diskNotFound = (name: string): Rejection =>
  new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', `${name} does not exist`, { name });

type Existing = Extract<Disk, { status: 'active' | 'deleting' }>;

/** Rule VM-07. */
const stateOf = (disk: Existing, at: Instant): Disk_State => {
  if (accessAt({ ...disk, status: 'active' }, at)?.by === 'user') return 'ACTIVE_ACCESS';
  if (disk.holder === null) return 'UNATTACHED';
  return disk.holder.isDeallocated ? 'RESERVED' : 'ATTACHED';
};

const availabilityOf = ({ loss, isPinned }: DiskSurroundings): Disk_Availability => {
  if (loss === undefined) return 'AVAILABLE';
  return isPinned ? 'LEASE_PINNED' : 'UNAVAILABLE';
};

const provisioningStateOf = (disk: Exclude<Disk, { status: 'absent' }>): Disk_ProvisioningState => {
  if (disk.status === 'creating') return 'CREATING';
  if (disk.status === 'deleting') return 'DELETING';
  return disk.changing === null && disk.moving === null ? 'SUCCEEDED' : 'UPDATING';
};
