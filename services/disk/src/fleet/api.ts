import type {
  DeclareDiskHostLostRequest,
  DeleteDiskHostRequest,
  DrainDiskHostRequest,
  GetDiskHostRequest,
  ListDiskHostsRequest,
  ResumeDiskHostRequest,
  DiskHost as WireDiskHost,
} from '@interlock/contracts/interlock/disk/v1/disk_host.ts';
import {
  type Cause,
  CursorConflict,
  type CursorMove,
  type Loaded,
  Rejection,
  type RowChange,
} from '@interlock/event-store';
import { type Call, expectedVersion, names, pageToken, principalOf } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import type { HostLeases } from '../host/owner/lease-row.ts';
import { pageOfRequest } from '../listing.ts';
import { contentApi } from './content-api.ts';
import { cordon, declareLost, drain, existingHost, type FleetHost, remove, resume } from './decider.ts';
import { contentOf, finishDrain, isEmpty, openDisksOf } from './draining.ts';
import type { DiskHostEvent } from './events.ts';
import { placementCursor } from './placement.ts';
import { diskHostOnWire } from './wire.ts';

/** What the API of disk hosts needs. */
interface FleetParts extends Pick<Control, 'store' | 'hosts' | 'fleet' | 'disks' | 'snapshots' | 'clock'> {
  readonly leases: HostLeases;
  /** Whether a host responds now; absent in a process without connections to hosts, which knows the leases only. */
  readonly responds?: (host: string) => Promise<boolean>;
}

/** Disk hosts as resources: request in, resource out. */
export const fleetApi = (parts: FleetParts) => {
  const { hosts, fleet, clock } = parts;
  const show = async (loaded: Loaded<FleetHost>): Promise<WireDiskHost> => {
    const [content, open, responds = true] = await Promise.all([
      contentOf(parts, loaded.id),
      openDisksOf(parts, loaded),
      parts.responds?.(loaded.id),
    ]);
    return diskHostOnWire(loaded, fleet, { ...content, open, responds });
  };
  /** Shows a host after a command; this process knows its new state at once. */
  const showNow = async (host: string): Promise<WireDiskHost> => {
    await fleet.refresh();
    return show(await hosts.load(host));
  };
  return {
    ...contentApi(parts),
    async getDiskHost({ name }: GetDiskHostRequest): Promise<WireDiskHost> {
      return show(await hosts.load(hostIn(name)));
    },
    async listDiskHosts(request: ListDiskHostsRequest) {
      const { items, next } = await hosts.list(pageOfRequest(request));
      return { diskHosts: await Promise.all(items.map(show)), nextPageToken: pageToken(next) };
    },
    async drainDiskHost({ name, cordonOnly, etag }: DrainDiskHostRequest, { cause }: Call): Promise<WireDiskHost> {
      const host = hostIn(name);
      const decide = (cordonOnly ? cordon : drain)(clock.now(), name);
      await close(parts, host, decide, cause, { etag });
      await finishDrain(parts, host, cause);
      return showNow(host);
    },
    async resumeDiskHost({ name, etag }: ResumeDiskHostRequest, { cause }: Call): Promise<WireDiskHost> {
      const host = hostIn(name);
      await hosts.transact(host, resume(clock.now(), name), cause, expectedVersion(etag));
      return showNow(host);
    },
    async declareDiskHostLost(request: DeclareDiskHostLostRequest, call: Call): Promise<WireDiskHost> {
      const host = hostIn(request.name);
      await declareHostLost(parts, host, request, call);
      return showNow(host);
    },
    async deleteDiskHost(request: DeleteDiskHostRequest, { cause }: Call) {
      const host = hostIn(request.name);
      await finishDrain(parts, host, cause);
      await deleteHost(parts, host, request, cause);
      await fleet.refresh();
      return {};
    },
  };
};

/** @throws Rejection INVALID_ARGUMENT NAME_INVALID */
const hostIn = (name: string): string => names.diskHost.parse(name, 'name').diskHost;

/** Commits what closes a host. It moves the placement cursor, so that nothing begins there afterwards (`Placement`). */
const close = async (
  { store, hosts }: Pick<FleetParts, 'store' | 'hosts'>,
  host: string,
  decide: (state: FleetHost) => readonly DiskHostEvent[],
  cause: Cause,
  { etag, also }: { readonly etag: string; readonly also?: { readonly row: RowChange; readonly cursor: CursorMove } },
): Promise<void> => {
  const name = placementCursor(host);
  for (;;) {
    const from = await store.cursor(name);
    const guard = [{ name, from, to: from + 1 }, ...(also ? [also.cursor] : [])];
    try {
      await hosts.transact(host, decide, cause, { ...expectedVersion(etag), guard, rows: also ? [also.row] : [] });
      return;
    } catch (error) {
      if (!(error instanceof CursorConflict) || error.cursor !== name) throw error;
    }
  }
};

/**
 * The commit takes the lease from whichever process may hold it: a process that was only paused finds that when it renews, and one
 * that starts finds the event. If the lease was renewed meanwhile, the host is not unreachable.
 */
const declareHostLost = async (
  parts: FleetParts,
  host: string,
  { name, folderId, etag }: DeclareDiskHostLostRequest,
  call: Call,
): Promise<void> => {
  const { hosts, leases, fleet, clock } = parts;
  const decide = declareLost(clock.now(), name, folderId, principalOf(call).name);
  if (decide((await hosts.load(host)).state).length === 0) return;
  const { renewals, lease } = await leases.read(folderId);
  await fleet.refresh();
  if (fleet.isServing(folderId)) throw serving(name);
  if (lease === undefined) throw new Error(`the folder ${folderId} of ${name} has no lease`);
  const also = leases.change(folderId, renewals, { ...lease, holder: '', isReleased: true });
  await close(parts, host, decide, call.cause, { etag, also }).catch((error: unknown) => {
    throw error instanceof CursorConflict ? serving(name) : error;
  });
};

/** Nothing begins on a drained or lost host, so what is counted there cannot rise. */
const deleteHost = async (
  parts: FleetParts,
  host: string,
  { name, etag }: DeleteDiskHostRequest,
  cause: Cause,
): Promise<void> => {
  const { hosts, clock } = parts;
  const { state, version } = await hosts.load(host);
  if (version === 0) existingHost(name, state);
  const decide = remove(clock.now(), name);
  if (decide(state).length === 0) return;
  const { disks, snapshots } = await contentOf(parts, host);
  if (!(await isEmpty(parts, host))) {
    throw new Rejection(
      'FAILED_PRECONDITION',
      'DISK_HOST_IN_USE',
      `${name} still has ${disks} disks and ${snapshots} snapshots, or moves are not finished there: drain it, or delete them first`,
      { disk_host: name, disks: String(disks), snapshots: String(snapshots) },
    );
  }
  await hosts.transact(host, decide, cause, { expected: version, ...expectedVersion(etag) });
};

const serving = (name: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'DISK_HOST_SERVING',
    `${name} holds the lease of its folder, or did a moment ago: only an unreachable disk host can be declared lost. Stop it first`,
    { disk_host: name },
  );
