import type { Caller } from '../cloud/caller.ts';
import { armTypes, lastSegment, type NamedPath } from '../cloud/resource-names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, type RouteReply, type RouteRequest, refusedRoute, route } from '../http/route.ts';
import { armId, regionOf, requireMatch } from '../management/arm.ts';
import { listRoutes } from '../management/list-routes.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { attachDetachChanges } from './disk-changes.ts';
import { wantedDisks } from './machine-body.ts';
import { AttachDetachBody, MachineBody, type MachineGiven } from './machine-schemas.ts';
import { type MachineParts, Machines, type PowerAction } from './machines.ts';
import { isExpanded, MachineViews } from './views.ts';

interface Parts extends MachineParts {
  readonly operations: Operations;
}

const host = 'gateway';
const path =
  '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Compute/virtualMachines/:name' as const;

type MachineRequest = RouteRequest<typeof path, unknown>;

/** Runs work on a machine as an operation. */
type Run = (
  request: MachineRequest,
  caller: Caller,
  work: Pick<Work, 'run' | 'accepted'> & {
    readonly verb: string;
    readonly location?: string;
    /** What the machine is to be. */
    readonly body?: MachineGiven;
  },
) => Promise<RouteReply>;

/** Virtual machines. */
export const machineRoutes = (parts: Parts): readonly Route[] => {
  const machines = new Machines(parts);
  const views = new MachineViews(parts);
  const run: Run = (request, caller, { verb, location = 'global', body = {}, ...work }) => {
    const target = machines.nameOf(request.params);
    const disks = wantedDisks(parts.names, body, target.split('/').slice(0, 4).join('/')) ?? [];
    const action = `virtualMachines/${verb}`;
    return parts.operations.run(
      { ...work, action, target, disks, location: regionOf(location), family: 'operations' },
      request,
      caller,
    );
  };
  return [
    ...writingRoutes(machines, views, run),
    ...readingRoutes(parts, machines, views),
    ...powerRoutes(machines, run),
    ...diskRoutes(parts, { machines, views, run }),
  ];
};

const writingRoutes = (machines: Machines, views: MachineViews, run: Run): readonly Route[] => [
  route({
    host,
    method: 'PUT',
    path,
    does: 'Creates a machine and starts it, or updates it; an image is an empty disk',
    body: MachineBody,
    handle: async (request, caller) => {
      const { params, body } = request;
      const before = await machines.find(params, caller);
      requireMatch(request.headers, before?.etag);
      const status = before === undefined ? 201 : 200;
      const state = before === undefined ? 'Creating' : 'Updating';
      return run(request, caller, {
        verb: 'write',
        body,
        ...(body.location === undefined ? {} : { location: body.location }),
        accepted: { status, body: acceptedBody(params, body, state) },
        run: async () => {
          const vm =
            before === undefined
              ? await machines.create(params, body, caller)
              : await machines.update(before, body, caller);
          return { status, body: await views.keep(vm, { path: params, body, isPatch: false }, caller) };
        },
      });
    },
  }),
  route({
    host,
    method: 'PATCH',
    path,
    does: 'Updates a machine: data disks, tags, size',
    body: MachineBody,
    handle: async (request, caller) => {
      const { params, body } = request;
      const before = await machines.get(params, caller);
      requireMatch(request.headers, before.etag);
      return run(request, caller, {
        verb: 'write',
        body,
        location: before.location,
        accepted: { status: 200, body: acceptedBody(params, body, 'Updating') },
        run: async () => {
          const vm = await machines.update(before, body, caller);
          return { body: await views.keep(vm, { path: params, body, isPatch: true }, caller) };
        },
      });
    },
  }),
  deletingRoute(machines, run),
];

const deletingRoute = (machines: Machines, run: Run): Route =>
  route({
    host,
    method: 'DELETE',
    path,
    does: 'Deletes a machine; its disks stay, except those with deleteOption Delete',
    handle: async (request, caller) => {
      const found = await machines.find(request.params, caller);
      if (found === undefined) return { status: 204 };
      return run(request, caller, {
        verb: 'delete',
        location: found.location,
        accepted: { status: 202 },
        run: async () => {
          await machines.delete(found, caller);
          return { status: 200 };
        },
      });
    },
  });

const readingRoutes = ({ backends, names }: Parts, machines: Machines, views: MachineViews): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a machine; `$expand=instanceView`',
    handle: async ({ params, query }, caller) => ({
      body: await views.shown(await machines.get(params, caller), query, caller),
    }),
  }),
  route({
    host,
    method: 'GET',
    path: `${path}/instanceView`,
    does: 'Reads what a machine and its disks are doing',
    handle: async ({ params }, caller) => {
      const vm = await machines.get(params, caller);
      return { body: await views.instanceView(vm, await views.extras(vm), caller) };
    },
  }),
  ...listRoutes({
    names,
    type: armTypes.virtualMachines,
    what: 'machines',
    list: async ({ parent, pageSize, pageToken, query }, caller) => {
      const view = isExpanded(query) ? 'FULL' : 'BASIC';
      const options = caller.as('compute');
      const found = await backends.compute.listVirtualMachines({ parent, pageSize, pageToken, view }, options);
      return { value: await views.allShown(found.virtualMachines), next: found.nextPageToken };
    },
  }),
  route({
    host,
    method: 'GET',
    path: '/subscriptions/:subscription/providers/Microsoft.Compute/locations/:location/virtualMachines',
    does: 'Lists the machines of a region',
    handle: async (request, caller) => {
      const parent = `subscriptions/${names.subscriptions.inner(request.params.subscription)}`;
      const asked = { parent, ...pageOf(request) };
      const found = await backends.compute.listVirtualMachines(asked, caller.as('compute'));
      const here = found.virtualMachines.filter(({ location }) => location === regionOf(request.params.location));
      return { body: listBody(request, await views.allShown(here), found.nextPageToken) };
    },
  }),
];

const actions: Readonly<Record<PowerAction, string>> = {
  start: 'Starts a machine; every key of its disks must be usable',
  powerOff: 'Powers a machine off; it keeps its host',
  deallocate: 'Powers a machine off and releases its host',
  restart: 'Stops and starts a running machine',
  redeploy: 'Moves a machine to another host: deallocates and starts it',
  reapply: 'Applies the state of a machine again: nothing to do here',
};

const refusedActions = [
  'generalize',
  'capture',
  'performMaintenance',
  'assessPatches',
  'installPatches',
  'runCommand',
  'reimage',
  'simulateEviction',
  'convertToManagedDisks',
  'retrieveBootDiagnosticsData',
] as const;

const powerRoutes = (machines: Machines, run: Run): readonly Route[] => [
  ...(Object.entries(actions) as [PowerAction, string][]).map(([action, does]) =>
    route({
      host,
      method: 'POST',
      path: `${path}/${action}` as const,
      does,
      handle: async (request, caller) => {
        const { name, location } = await machines.get(request.params as NamedPath, caller);
        return run(request as MachineRequest, caller, {
          verb: action,
          location,
          accepted: { status: 202 },
          run: async () => {
            await machines.act(name, action, request.query, caller);
            return {};
          },
        });
      },
    }),
  ),
  ...refusedActions.map((verb) =>
    refusedRoute({
      host,
      method: 'POST',
      path: `${path}/${verb}`,
      does: `${verb} of a machine`,
      refusedBecause: 'There are no images and no operating systems: a guest is a process that reads and writes disks.',
    }),
  ),
];

const diskRoutes = (
  { names }: Parts,
  { machines, views, run }: { readonly machines: Machines; readonly views: MachineViews; readonly run: Run },
): readonly Route[] => [
  route({
    host,
    method: 'POST',
    path: `${path}/attachDetachDataDisks`,
    does: 'Attaches and detaches data disks',
    body: AttachDetachBody,
    handle: async (request, caller) => {
      const vm = await machines.get(request.params, caller);
      const changes = attachDetachChanges(names, vm.dataDisks, request.body);
      return run(request, caller, {
        verb: 'attachDetachDataDisks',
        location: vm.location,
        accepted: { status: 202 },
        run: async () => {
          const changed = await machines.change(vm, changes, caller);
          return { body: await views.storage(changed) };
        },
      });
    },
  }),
];

/** The reply while a machine is created or updated: what was given, and that it is not done. */
const acceptedBody = (given: NamedPath, body: MachineGiven, provisioningState: string): unknown => {
  const id = armId(given, armTypes.virtualMachines, given.name);
  const { osProfile, ...properties } = (body.properties ?? {}) as Readonly<Record<string, unknown>>;
  return { ...body, id, name: lastSegment(id), properties: { ...properties, provisioningState } };
};
