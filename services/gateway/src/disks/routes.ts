import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { Caller } from '../cloud/caller.ts';
import { armTypes, lastSegment, type NamedPath } from '../cloud/resource-names.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import { armId, regionOf } from '../management/arm.ts';
import { listRoutes } from '../management/list-routes.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { DiskBody, type DiskGiven } from './disk-body.ts';
import { type DiskParts, Disks } from './disks.ts';

interface Parts extends DiskParts {
  readonly operations: Operations;
}

const host = 'gateway';
const path = '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Compute/disks/:name' as const;

/** Runs work on a disk as an operation. */
type Run = (
  request: RouteRequest<typeof path, DiskGiven>,
  caller: Caller,
  work: Pick<Work, 'run' | 'accepted'> & { readonly verb: 'write' | 'delete' },
) => Promise<RouteReply>;

/** Disks. */
export const diskRoutes = (parts: Parts): readonly Route[] => {
  const disks = new Disks(parts);
  const run: Run = (request, caller, work) => {
    const target = disks.nameOf(request.params);
    const location = regionOf(request.body?.location ?? 'global');
    return parts.operations.run(
      { ...work, action: `disks/${work.verb}`, target, location, family: 'DiskOperations' },
      request,
      caller,
    );
  };
  const write = (request: RouteRequest<typeof path, DiskGiven>, caller: Caller, make: () => Promise<Disk>) =>
    run(request, caller, {
      verb: 'write',
      accepted: { status: 202, body: acceptedBody(request.params, request.body) },
      run: async () => {
        const disk = await disks.settled(await make(), caller);
        return { body: await disks.shown(disk, request.params, caller, request.body) };
      },
    });
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Creates or updates a disk; an image is made empty',
      body: DiskBody,
      handle: (request, caller) =>
        write(request, caller, async () => {
          const before = await disks.find(request.params, caller);
          return before === undefined
            ? disks.create(request.params, request.body, caller)
            : disks.update(before, request.body, caller);
        }),
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: 'Updates a disk: size, encryption, tags',
      body: DiskBody,
      handle: async (request, caller) => {
        const before = await disks.get(request.params, caller);
        return write(request, caller, () => disks.update(before, request.body, caller));
      },
    }),
    deletingRoute(disks, run),
    ...readingRoutes(parts, disks),
  ];
};

const deletingRoute = (disks: Disks, run: Run): Route =>
  route({
    host,
    method: 'DELETE',
    path,
    does: 'Deletes a disk and its data',
    handle: async (request, caller) => {
      const found = await disks.find(request.params, caller);
      if (found === undefined) return { status: 204 };
      return run({ ...request, body: {} }, caller, {
        verb: 'delete',
        accepted: { status: 202 },
        run: async () => {
          await disks.delete(found, caller);
          return { status: 200 };
        },
      });
    },
  });

const readingRoutes = ({ backends, names }: Parts, disks: Disks): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a disk',
    handle: async ({ params }, caller) => {
      const [body] = await disks.allShown([await disks.get(params, caller)]);
      return { body };
    },
  }),
  ...listRoutes({
    names,
    type: armTypes.disks,
    what: 'disks',
    list: async ({ parent, pageSize, pageToken }, caller) => {
      const found = await backends.disks.listDisks({ parent, pageSize, pageToken }, caller.as('disk'));
      return { value: await disks.allShown(found.disks), next: found.nextPageToken };
    },
  }),
];

/** The reply while a disk is created or updated: what was given, and that it is not done. */
const acceptedBody = (given: NamedPath, body: DiskGiven): unknown => {
  const id = armId(given, armTypes.disks, given.name);
  return { ...body, id, name: lastSegment(id), properties: { ...body.properties, provisioningState: 'Updating' } };
};
