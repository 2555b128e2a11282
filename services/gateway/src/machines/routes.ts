import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { scopeName } from '../cloud/names.ts';
import { armTypes } from '../cloud/resource-names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, refusedRoute, route } from '../http/route.ts';
import { regionOf } from '../management/arm.ts';
import { pathOf } from '../resource-types/rows.ts';
import type { RunWork, ServiceResources } from '../resource-types/service-resources.ts';
import { attachDetachChanges } from './disk-changes.ts';
import { instanceViewShown } from './instance-view.ts';
import { computerNameOf, disksOf, storageShown } from './machine-body.ts';
import { AttachDetachBody, type MachineGiven } from './machine-schemas.ts';
import type { MachineParts, Machines, PowerAction } from './machines.ts';

interface Parts extends MachineParts {
  readonly machines: ServiceResources<VirtualMachine, MachineGiven>;
  readonly calls: Machines;
  readonly run: RunWork;
}

const host = 'gateway';
const path = pathOf(armTypes.virtualMachines);

/** What machines have besides the rows of every type. */
export const machineRoutes = (parts: Parts): readonly Route[] => [
  ...readingRoutes(parts),
  ...powerRoutes(parts),
  ...diskRoutes(parts),
];

const readingRoutes = ({ backends, names, machines }: Parts): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path: `${path}/instanceView`,
    does: 'Reads what a machine and its disks are doing',
    handle: async ({ params }, caller) => {
      const vm = await machines.get(params, caller);
      const view = await backends.compute.getInstanceView({ name: vm.name }, caller.as('compute'));
      return { body: instanceViewShown(names, view, computerNameOf(await machines.extras(vm))) };
    },
  }),
  route({
    host,
    method: 'GET',
    path: '/subscriptions/:subscription/providers/Microsoft.Compute/locations/:location/virtualMachines',
    does: 'Lists the machines of a region',
    handle: async (request, caller) => {
      const asked = { parent: scopeName(names, request.params), ...pageOf(request) };
      const found = await backends.compute.listVirtualMachines(asked, caller.as('compute'));
      const here = found.virtualMachines.filter(({ location }) => location === regionOf(request.params.location));
      return { body: listBody(request, await machines.shown(here), found.nextPageToken) };
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

const powerRoutes = ({ machines, calls, run }: Parts): readonly Route[] => [
  ...(Object.entries(actions) as [PowerAction, string][]).map(([action, does]) =>
    route({
      host,
      method: 'POST',
      path: `${path}/${action}`,
      does,
      handle: async (request, caller) => {
        const { name, location } = await machines.get(request.params, caller);
        return run(request, caller, {
          verb: action,
          location,
          accepted: { status: 202 },
          run: async () => {
            await calls.act(name, action, request.query, caller);
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

const diskRoutes = ({ names, resourceRecords, machines, calls, run }: Parts): readonly Route[] => [
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
          const changed = await calls.change(vm, changes, caller);
          const { content } = await machines.extras(changed);
          return { body: storageShown(changed, content, await resourceRecords.idsOf(disksOf(changed))) };
        },
      });
    },
  }),
];
