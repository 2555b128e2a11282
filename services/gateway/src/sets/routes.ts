import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { armTypes, lastSegment, type NamedPath } from '../cloud/resource-names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import { armId, regionOf } from '../management/arm.ts';
import { listRoutes } from '../management/list-routes.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { SetBody, type SetGiven } from './set-body.ts';
import { type SetParts, Sets } from './sets.ts';

interface Parts extends SetParts {
  readonly backends: Pick<Backends, 'sets'>;
  readonly operations: Operations;
}

const host = 'gateway';
const path =
  '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Compute/diskEncryptionSets/:name' as const;

/** Runs work on a set as an operation. */
type Run = (
  request: RouteRequest<typeof path, SetGiven>,
  caller: Caller,
  work: Pick<Work, 'run' | 'accepted'> & { readonly verb: 'write' | 'delete' },
) => Promise<RouteReply>;

/** Disk encryption sets. */
export const setRoutes = (parts: Parts): readonly Route[] => {
  const sets = new Sets(parts);
  const run: Run = (request, caller, work) => {
    const target = sets.nameOf(request.params);
    const location = regionOf(request.body?.location ?? 'global');
    const action = `diskEncryptionSets/${work.verb}`;
    return parts.operations.run({ ...work, action, target, location, family: 'DiskOperations' }, request, caller);
  };
  const write = (
    request: RouteRequest<typeof path, SetGiven>,
    caller: Caller,
    make: () => Promise<DiskEncryptionSet>,
  ): Promise<RouteReply> =>
    run(request, caller, {
      verb: 'write',
      accepted: { status: 202, body: acceptedBody(request.params, request.body) },
      run: async () => ({ body: await sets.shown(await make(), request.params, caller, request.body) }),
    });
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Creates or updates a disk encryption set',
      body: SetBody,
      handle: (request, caller) =>
        write(request, caller, async () => {
          const before = await sets.find(request.params, caller);
          return before === undefined
            ? sets.create(request.params, request.body, caller)
            : sets.update(before, request.body, caller);
        }),
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: 'Updates a disk encryption set',
      body: SetBody,
      handle: async (request, caller) => {
        const before = await sets.get(request.params, caller);
        return write(request, caller, () => sets.update(before, request.body, caller));
      },
    }),
    deletingRoute(sets, run),
    ...readingRoutes(parts, sets),
  ];
};

const deletingRoute = (sets: Sets, run: Run): Route =>
  route({
    host,
    method: 'DELETE',
    path,
    does: 'Deletes a disk encryption set and its identity',
    handle: async (request, caller) => {
      const found = await sets.find(request.params, caller);
      if (found === undefined) return { status: 204 };
      return run({ ...request, body: {} }, caller, {
        verb: 'delete',
        accepted: { status: 202 },
        run: async () => {
          await sets.delete(found, caller);
          return { status: 200 };
        },
      });
    },
  });

const readingRoutes = ({ backends, names, resourceRecords }: Parts, sets: Sets): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a disk encryption set',
    handle: async ({ params }, caller) => {
      const [body] = await sets.allShown([await sets.get(params, caller)]);
      return { body };
    },
  }),
  ...listRoutes({
    names,
    type: armTypes.diskEncryptionSets,
    what: 'disk encryption sets',
    list: async ({ parent, pageSize, pageToken }, caller) => {
      const options = caller.as('disk-encryption-set');
      const found = await backends.sets.listDiskEncryptionSets({ parent, pageSize, pageToken }, options);
      return { value: await sets.allShown(found.diskEncryptionSets), next: found.nextPageToken };
    },
  }),
  route({
    host,
    method: 'GET',
    path: `${path}/associatedResources`,
    does: 'Lists ids of the disks and snapshots under a disk encryption set',
    handle: async (request, caller) => {
      const { name } = await sets.get(request.params, caller);
      const asked = { name, ...pageOf(request) };
      const found = await backends.sets.listAssociatedResources(asked, caller.as('disk-encryption-set'));
      const named = found.resources.map((resource) => resource.name);
      const ids = named.map(await resourceRecords.idsOf(named));
      return { body: listBody(request, ids, found.nextPageToken) };
    },
  }),
];

/** The reply while a set is created or updated: what was given, and that it is not done. */
const acceptedBody = (given: NamedPath, body: SetGiven): unknown => {
  const id = armId(given, armTypes.diskEncryptionSets, given.name);
  return { ...body, id, name: lastSegment(id), properties: { ...body.properties, provisioningState: 'Updating' } };
};
