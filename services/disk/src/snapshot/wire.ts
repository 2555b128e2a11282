import {
  type Snapshot_ProvisioningState,
  Snapshot as WireSnapshot,
} from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { encryptionOnWire } from '../encryption.ts';
import type { Snapshot } from './decider.ts';

/** A snapshot as the API shows it. Needs no key (CMK-109). @throws Rejection NOT_FOUND SNAPSHOT_NOT_FOUND */
export const snapshotOnWire = (
  { id: name, state, version }: Loaded<Snapshot>,
  allocatedBytes: number,
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
    ...(state.status === 'creating'
      ? {}
      : { keyVersion: state.keyVersion, generation: state.generation, createTime: new Date(state.createdAt) }),
  });
};

/** The refusal of a name that has no snapshot. */
export const snapshotNotFound = (name: string): Rejection =>
  new Rejection('NOT_FOUND', 'SNAPSHOT_NOT_FOUND', `${name} does not exist`, { name });

const provisioningStates = {
  creating: 'CREATING',
  active: 'SUCCEEDED',
  deleting: 'DELETING',
} as const satisfies Record<Exclude<Snapshot['status'], 'absent'>, Snapshot_ProvisioningState>;
