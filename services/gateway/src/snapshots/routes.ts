import type { Snapshot } from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionOf, isEncryptedAs } from '../cloud/encryption.ts';
import { ifFound } from '../cloud/if-found.ts';
import { groupName } from '../cloud/names.ts';
import { armTypes, innerName, type NamedPath } from '../cloud/resource-names.ts';
import { DiskBody, type DiskGiven, keptContent, refuseOtherCreation } from '../disks/disk-body.ts';
import type { DiskParts } from '../disks/disk-type.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteReply, type RouteRequest, refusedRoute, route } from '../http/route.ts';
import { armId, refuseMove, regionOf, resourceNotFound } from '../management/arm.ts';
import { listRoutes } from '../management/list-routes.ts';
import { extrasFor } from '../management/resource-records.ts';
import type { Operations } from '../operations/operations.ts';
import { longCallMs, readUntil } from '../operations/wait.ts';
import { snapshotBody, sourceDiskOf } from './snapshot-body.ts';

interface Parts extends DiskParts {
  readonly operations: Operations;
}

const host = 'gateway';
const path = '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Compute/snapshots/:name' as const;

type SnapshotRequest = RouteRequest<typeof path, DiskGiven>;

/** Snapshots of disks. */
export const snapshotRoutes = (parts: Parts): readonly Route[] => {
  const snapshots = new Snapshots(parts);
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Takes a snapshot of a disk, or updates its tags',
      body: DiskBody,
      handle: (request, caller) => snapshots.put(request, caller),
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: 'Updates the tags of a snapshot',
      body: DiskBody,
      handle: async (request, caller) => {
        await snapshots.get(request.params, caller);
        return snapshots.put(request, caller);
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Reads a snapshot',
      handle: async ({ params }, caller) => {
        const [body] = await snapshots.allShown([await snapshots.get(params, caller)]);
        return { body };
      },
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: 'Deletes a snapshot',
      handle: (request, caller) => snapshots.delete({ ...request, body: {} }, caller),
    }),
    ...listRoutes({
      names: parts.names,
      type: armTypes.snapshots,
      what: 'snapshots',
      list: async ({ parent, pageSize, pageToken }, caller) => {
        const asked = { parent, pageSize, pageToken };
        const found = await parts.backends.disks.listSnapshots(asked, caller.as('disk'));
        return { value: await snapshots.allShown(found.snapshots), next: found.nextPageToken };
      },
    }),
    ...['beginGetAccess', 'endGetAccess'].map((verb) =>
      refusedRoute({
        host,
        method: 'POST',
        path: `${path}/${verb}`,
        does: `${verb} of a snapshot`,
        refusedBecause: 'Create a disk from the snapshot, and read that.',
      }),
    ),
  ];
};

class Snapshots {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async find(given: NamedPath, caller: Caller): Promise<Snapshot | undefined> {
    const { backends, names } = this.#parts;
    return ifFound(backends.disks.getSnapshot({ name: innerName(names, given, 'snapshots') }, caller.as('disk')));
  }

  /** @throws RestError 404 */
  async get(given: NamedPath, caller: Caller): Promise<Snapshot> {
    const found = await this.find(given, caller);
    if (found !== undefined) return found;
    throw resourceNotFound(given, armTypes.snapshots, given.name);
  }

  put(request: SnapshotRequest, caller: Caller): Promise<RouteReply> {
    const { params, body } = request;
    const id = armId(params, armTypes.snapshots, params.name);
    const properties = { ...body.properties, provisioningState: 'Updating' };
    return this.#run(
      'write',
      request,
      caller,
      { status: 202, body: { ...body, id, name: params.name, properties } },
      async () => {
        const before = await this.find(params, caller);
        const snapshot =
          before === undefined ? await this.#create(request, caller) : await this.#check(before, body, caller);
        return { body: await this.#shown(snapshot, request, caller) };
      },
    );
  }

  async delete(request: SnapshotRequest, caller: Caller): Promise<RouteReply> {
    const { backends, resourceRecords, clock } = this.#parts;
    const found = await this.find(request.params, caller);
    if (found === undefined) return { status: 204 };
    return this.#run('delete', request, caller, { status: 202 }, async () => {
      await backends.disks.deleteSnapshot({ name: found.name }, caller.as('disk'));
      await readUntil(
        clock,
        () => this.find(request.params, caller),
        (left) => left === undefined,
      );
      await resourceRecords.forget(found.name, caller);
      return { status: 200 };
    });
  }

  async allShown(snapshots: readonly Snapshot[]): Promise<readonly unknown[]> {
    const { resourceRecords } = this.#parts;
    const extras = await resourceRecords.find(snapshots.map(incarnationOf));
    const idOf = await resourceRecords.idsOf(snapshots.flatMap(namedBy));
    return snapshots.map((snapshot, n) => snapshotBody(snapshot, extras[n] as (typeof extras)[number], idOf));
  }

  #run(
    verb: string,
    request: SnapshotRequest,
    caller: Caller,
    accepted: RouteReply,
    run: () => Promise<RouteReply>,
  ): Promise<RouteReply> {
    const { names, operations } = this.#parts;
    const target = innerName(names, request.params, 'snapshots');
    const location = regionOf(request.body.location ?? 'global');
    const work = { action: `snapshots/${verb}`, target, location, family: 'DiskOperations', run, accepted } as const;
    return operations.run(work, request, caller);
  }

  async #create({ params, body }: SnapshotRequest, caller: Caller): Promise<Snapshot> {
    const { backends, names } = this.#parts;
    const encryption = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    return backends.disks.createSnapshot(
      {
        parent: groupName(names, params.subscription, params.group),
        snapshotId: params.name.toLowerCase(),
        sourceDisk: sourceDiskOf(names, body),
        incremental: body.properties?.incremental ?? false,
        ...(encryption === undefined ? {} : { encryption }),
      },
      { ...caller.as('disk'), deadlineMs: longCallMs },
    );
  }

  /** A snapshot never changes. @throws RestError 409 */
  async #check(snapshot: Snapshot, body: DiskGiven, caller: Caller): Promise<Snapshot> {
    refuseMove(body.location, snapshot.location, snapshot.name);
    refuseOtherCreation(await extrasFor(this.#parts.resourceRecords, incarnationOf(snapshot)), body);
    const wanted = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    if (isEncryptedAs(snapshot.encryption, wanted)) return snapshot;
    throw new RestError(
      409,
      'OperationNotAllowed',
      "Changing property 'encryption' of a snapshot is not allowed: it is encrypted as it was taken.",
    );
  }

  async #shown(snapshot: Snapshot, { params, body }: SnapshotRequest, caller: Caller): Promise<unknown> {
    const { resourceRecords } = this.#parts;
    const before = await extrasFor(resourceRecords, incarnationOf(snapshot));
    const extras = { tags: body.tags ?? before.tags, content: keptContent(before.content, body) };
    const kept = await resourceRecords.put(incarnationOf(snapshot), params, extras, caller);
    return snapshotBody(snapshot, kept, await resourceRecords.idsOf(namedBy(snapshot)));
  }
}

const incarnationOf = ({ name, uniqueId }: Snapshot) => ({ name, incarnation: uniqueId });

/** Interlock names of the resources that a snapshot names. */
const namedBy = ({ sourceDisk, encryption }: Snapshot): readonly string[] => [
  sourceDisk,
  encryption?.diskEncryptionSet ?? '',
];
