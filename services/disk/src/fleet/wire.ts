import {
  type DiskHost_State,
  type DiskHostState,
  DiskHost as WireDiskHost,
} from '@interlock/contracts/interlock/disk/v1/disk_host.ts';
import type { Loaded } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { existingHost, type FleetHost, type RegisteredHost } from './decider.ts';
import type { Fleet, HostCondition } from './fleet.ts';
import { type Moves, unmoved } from './moving.ts';

/** The full name of a host. */
export const hostNameOnWire = (host: string): string => names.diskHost.format({ diskHost: host });

/** How many disks and snapshots name a host. */
export interface HostContent {
  readonly disks: number;
  readonly snapshots: number;
}

/** Disks that stay on a draining host because they are open: how many, and the first names. */
export interface OpenDisks {
  readonly count: number;
  readonly names: readonly string[];
}

/** A disk host as the API shows it. @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND */
export const diskHostOnWire = (
  { id, state, version }: Loaded<FleetHost>,
  fleet: Pick<Fleet, 'leaseOf' | 'isServing'>,
  content: HostContent & { readonly responds: boolean; readonly open: OpenDisks },
): WireDiskHost => {
  const name = hostNameOnWire(id);
  const { status, folderId, registeredAt } = existingHost(name, state);
  const { zone, dataAddress, nbdAddress, grpcAddress, capacityBytes, freeBytes } = fleet.leaseOf(folderId) ?? {};
  return WireDiskHost.fromPartial({
    name,
    state: states[status],
    liveness: content.responds && fleet.isServing(folderId) ? 'SERVING' : 'UNREACHABLE',
    folderId,
    zone: zone ?? '',
    dataAddress: dataAddress ?? '',
    nbdAddress: nbdAddress ?? '',
    grpcAddress: grpcAddress ?? '',
    capacityBytes: capacityBytes ?? 0,
    freeBytes: freeBytes ?? 0,
    diskCount: content.disks,
    snapshotCount: content.snapshots,
    createTime: new Date(registeredAt),
    etag: String(version),
    openDiskCount: content.open.count,
    openDisks: [...content.open.names],
  });
};

/** The host of a disk or snapshot, for the API. */
export const hostOnWire = (
  host: string,
  fleet: Pick<Fleet, 'conditionOf'>,
): { readonly diskHost: string; readonly diskHostState: DiskHostState } => ({
  diskHost: hostNameOnWire(host),
  diskHostState: conditions[fleet.conditionOf(host)],
});

/** What is known of moves of a disk or snapshot, for the API. */
export const movesOnWire = (
  state: object | (Moves & { readonly status: 'active' }),
): { readonly movingTo: string; readonly moveFailure: string } => {
  const { moving, moveFailure } = 'moving' in state ? state : unmoved;
  return { movingTo: moving === null ? '' : hostNameOnWire(moving.host), moveFailure: moveFailure ?? '' };
};

const conditions = {
  serving: 'HOST_SERVING',
  unreachable: 'HOST_UNREACHABLE',
  lost: 'HOST_LOST',
} as const satisfies Record<HostCondition, DiskHostState>;

const states = {
  open: 'OPEN',
  cordoned: 'CORDONED',
  draining: 'DRAINING',
  drained: 'DRAINED',
  lost: 'LOST',
} as const satisfies Record<RegisteredHost['status'], DiskHost_State>;
