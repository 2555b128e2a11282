import type {
  CloseDisksRequest,
  CloseDisksResponse,
  DetachDiskRequest,
  OpenDisksRequest,
  OpenDisksResponse,
} from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type {
  CheckKeyAccessRequest,
  RewrapDeksRequest,
  RewrapDeksResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import type { CreateDiskRequest } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { CreateSnapshotRequest } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, type ItemOutcome, RpcFailure } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import { closingsMax, opensMax, rewrapsMax } from '../batch-limits.ts';
import { nearOf } from '../disk/near.ts';
import type { Placed } from '../fleet/choice.ts';
import type { SetClient } from '../host/keys/set-keys.ts';
import { Batches } from './batches.ts';
import type { HostLink } from './host-link.ts';
import { listLeasesOfAll } from './leases-of-all.ts';
import type { PassedCall, Router, RouterParts } from './router.ts';
import type { WithoutHost } from './without-host.ts';

type Disks = HostLink['disks'];

/** Methods that the host of the disk or snapshot in `name` executes. */
const byName = [
  'deleteDisk',
  'changeDiskEncryption',
  'growDisk',
  'changeDiskSku',
  'deleteSnapshot',
  'attachDisk',
  'beginAccess',
  'endAccess',
  'moveDisk',
  'moveSnapshot',
] as const;
type ByName = (typeof byName)[number];
type Requests = { readonly [M in ByName]: Parameters<Disks[M]>[0] & { readonly name: string } };

/** What passing on needs. */
export interface RoutedParts {
  readonly router: Router;
  readonly links: RouterParts['links'];
  readonly withoutHost: Pick<WithoutHost, 'closeDisks' | 'detachDisk'>;
  readonly sets: SetClient;
  readonly log: Logger;
}

/** The methods of DiskService that a disk host executes, as a control process serves them. */
export const routedApi = (parts: RoutedParts) => {
  const { router, withoutHost, log } = parts;
  const batches = new Batches(router, log);
  const atHostOf =
    <M extends ByName>(method: M) =>
    (request: Requests[M], call: Call): ReturnType<Disks[M]> =>
      router.atHostOf(request.name, call, (link, options) =>
        Reflect.apply(link.disks[method], link.disks, [request, options]),
      ) as ReturnType<Disks[M]>;
  return {
    deleteDisk: atHostOf('deleteDisk'),
    changeDiskEncryption: atHostOf('changeDiskEncryption'),
    growDisk: atHostOf('growDisk'),
    changeDiskSku: atHostOf('changeDiskSku'),
    deleteSnapshot: atHostOf('deleteSnapshot'),
    attachDisk: atHostOf('attachDisk'),
    detachDisk: (request: DetachDiskRequest, call: Call) =>
      router.atHostOf(
        request.name,
        call,
        (link, options) => link.disks.detachDisk(request, options),
        (host) => withoutHost.detachDisk(host, request, call),
      ),
    beginAccess: atHostOf('beginAccess'),
    endAccess: atHostOf('endAccess'),
    moveDisk: atHostOf('moveDisk'),
    moveSnapshot: atHostOf('moveSnapshot'),
    createDisk: (request: CreateDiskRequest, call: Call) => createDisk(parts, request, call),
    createSnapshot: ({ ...request }: CreateSnapshotRequest, call: Call) =>
      router.atNewHost(
        { name: `${request.parent}/snapshots/${request.snapshotId}`, source: request.sourceDisk },
        call,
        (link, options) => link.disks.createSnapshot(request, options),
      ),
    checkKeyAccess: (request: CheckKeyAccessRequest, call: Call) =>
      router.atFirst(request.diskEncryptionSet, call, (link, options) => link.disks.checkKeyAccess(request, options)),
    ...batchApi(batches, withoutHost),
    listLeases: listLeasesOfAll(parts),
  };
};

const createDisk = async ({ router, sets }: RoutedParts, request: CreateDiskRequest, call: PassedCall) => {
  const { parent, diskId, source } = request;
  const name = `${parent}/disks/${diskId}`;
  const near = nearOf(request);
  const where =
    source === undefined
      ? { placed: () => placedOf({ router, sets }, request, near ?? name) }
      : { source: source.value };
  return router.atNewHost({ name, ...where }, call, (link, options) => link.disks.createDisk(request, options));
};

/**
 * The set of a new disk, else its group: the disks of a machine are mostly under one set, and then on one host.
 * @param machine what stays together if the set spreads: the disk that this one is to be near, or itself
 */
const placedOf = async (
  { router, sets }: Pick<RoutedParts, 'router' | 'sets'>,
  { encryption, parent, sizeGib, near }: CreateDiskRequest,
  machine: string,
): Promise<Placed> => {
  const set = encryption?.diskEncryptionSet ?? '';
  const nearHost = near === '' ? undefined : (await router.hostsOf([near])).get(near);
  const isSpread = nearHost === undefined && set !== '' && (await spreads(sets, set));
  return { key: set || parent, sizeGib, nearHost, spreadBy: isSpread ? machine : undefined };
};

/** Whether new disks of a set are spread. One that cannot say is refused by the host, which calls it too. */
const spreads = async (sets: RoutedParts['sets'], name: string): Promise<boolean> => {
  try {
    return (await sets.getDiskEncryptionSet({ name })).spread;
  } catch (error) {
    if (error instanceof Rejection || error instanceof RpcFailure) return false;
    throw error;
  }
};

/** Calls for many disks at once: each host gets those that it has. */
const batchApi = (batches: Batches, withoutHost: RoutedParts['withoutHost']) => ({
  async openDisks({ items }: OpenDisksRequest, call: Call): Promise<OpenDisksResponse> {
    const outcomes = await batches.settle(
      {
        ...{ items, sizeMax: opensMax, field: 'items' },
        nameOf: ({ open }) => open?.name ?? '',
        send: (some) => async (link, options) => (await link.disks.openDisks({ items: [...some] }, options)).outcomes,
      },
      call,
    );
    return { outcomes: outcomes.map(onWire) };
  },
  async closeDisks({ closings }: CloseDisksRequest, call: Call): Promise<CloseDisksResponse> {
    const outcomes = await batches.settle(
      {
        ...{ items: closings, sizeMax: closingsMax, field: 'closings' },
        nameOf: ({ name }) => name,
        send: (some) => async (link, options) =>
          (await link.disks.closeDisks({ closings: [...some] }, options)).outcomes,
        withoutHost: (host, some) => withoutHost.closeDisks(host, some, call),
      },
      call,
    );
    return { outcomes: outcomes.map(onWire) };
  },
  async rewrapDeks({ names, ...target }: RewrapDeksRequest, call: Call): Promise<RewrapDeksResponse> {
    const outcomes = await batches.settle(
      {
        ...{ items: names, sizeMax: rewrapsMax, field: 'items' },
        nameOf: (name) => name,
        send: (some) => async (link, options) =>
          (await link.disks.rewrapDeks({ names: [...some], ...target }, options)).outcomes,
      },
      call,
    );
    return { outcomes: outcomes.map(onWire) };
  },
});

const onWire = <Outcome>(outcome: ItemOutcome<Outcome>) =>
  'answer' in outcome
    ? outcome.answer
    : { outcome: { $case: 'refused' as const, value: { ...outcome.refused } }, event: '' };
