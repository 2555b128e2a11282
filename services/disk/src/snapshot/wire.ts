import {
  type Snapshot_ProvisioningState,
  Snapshot as WireSnapshot,
} from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { encryptionOnWire, setOf } from '../disk/encryption.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { hostOnWire, movesOnWire } from '../fleet/wire.ts';
import type { SetKeyVersion } from '../host/keys/key-access.ts';
import type { KeyUnavailable } from '../host/keys/key-reasons.ts';
import type { Snapshot } from './decider.ts';

/** Properties of a snapshot that are not in its events. They are computed at a read, so a loss costs nothing per snapshot. */
export interface SnapshotSurroundings {
  /** Why its data cannot be read; undefined: as far as known it can. */
  readonly loss: KeyUnavailable | undefined;
  readonly allocatedBytes: number;
  readonly fleet: Pick<Fleet, 'conditionOf'>;
}

/** A snapshot as the API shows it. Needs no key (CMK-109). @throws Rejection NOT_FOUND SNAPSHOT_NOT_FOUND */
export const snapshotOnWire = (
  { id: name, state, version }: Loaded<Snapshot>,
  { loss, allocatedBytes, fleet }: SnapshotSurroundings,
): WireSnapshot => {
  if (state.status === 'absent') throw snapshotNotFound(name);
  const { location, sourceDisk, sourceUniqueId, incremental, sizeGib, encryption, uniqueId } = state;
  return WireSnapshot.fromPartial({
    name,
    location,
    sourceDisk,
    sourceUniqueId,
    incremental,
    sizeGib,
    encryption: encryptionOnWire(encryption),
    provisioningState: provisioningStates[state.status],
    uniqueId,
    etag: String(version),
    allocatedBytes,
    ...hostOnWire(state.host, fleet),
    ...movesOnWire(state),
    availability: loss === undefined ? 'AVAILABLE' : 'UNAVAILABLE',
    ...(loss === undefined ? {} : { unavailableReason: loss.reason, unavailableSince: new Date(loss.since) }),
    ...(state.status === 'creating'
      ? {}
      : { keyVersion: state.keyVersion, generation: state.generation, createTime: new Date(state.createdAt) }),
  });
};

/** The key a snapshot depends on; undefined under a key of the platform, and before it exists. */
export const keyOf = (state: Snapshot): SetKeyVersion | undefined =>
  'keyVersion' in state && state.keyVersion !== ''
    ? { set: setOf(state.encryption), keyVersion: state.keyVersion }
    : undefined;

/** The refusal of a name that has no snapshot. */
export const snapshotNotFound = (name: string): Rejection =>
  new Rejection('NOT_FOUND', 'SNAPSHOT_NOT_FOUND', `${name} does not exist`, { name });

const provisioningStates = {
  creating: 'CREATING',
  active: 'SUCCEEDED',
  deleting: 'DELETING',
} as const satisfies Record<Exclude<Snapshot['status'], 'absent'>, Snapshot_ProvisioningState>;
