import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Caller } from '../cloud/caller.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { extrasFor, type ResourceExtras } from '../management/resource-records.ts';
import { instanceViewShown } from './instance-view.ts';
import { computerNameOf, disksOf, keptContent, machineBody, storageShown } from './machine-body.ts';
import type { MachineGiven } from './machine-schemas.ts';
import type { MachineParts } from './machines.ts';

/** Machines as clients read them. */
export class MachineViews {
  readonly #parts: MachineParts;

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  /** What only management has of a machine. */
  extras(vm: VirtualMachine): Promise<ResourceExtras> {
    return extrasFor(this.#parts.resourceRecords, incarnationOf(vm));
  }

  /** Stores what only management has, and shows the machine. */
  async keep(
    vm: VirtualMachine,
    { path, body, isPatch }: { readonly path: NamedPath; readonly body: MachineGiven; readonly isPatch: boolean },
    caller: Caller,
  ): Promise<unknown> {
    const { names, resourceRecords } = this.#parts;
    const before = await this.extras(vm);
    const group = vm.name.split('/').slice(0, 4).join('/');
    const content = keptContent(names, before.content, body, { group, isPatch });
    const tags = body.tags ?? before.tags;
    const extras = await resourceRecords.put(incarnationOf(vm), path, { tags, content }, caller);
    return machineBody(vm, extras, await resourceRecords.idsOf(disksOf(vm)));
  }

  /** @param query of the request: `$expand=instanceView`, `statusOnly=true` */
  async shown(vm: VirtualMachine, query: Readonly<Record<string, string>>, caller: Caller): Promise<unknown> {
    const extras = await this.extras(vm);
    const view = isExpanded(query) ? await this.instanceView(vm, extras, caller) : undefined;
    return machineBody(vm, extras, await this.#parts.resourceRecords.idsOf(disksOf(vm)), view);
  }

  /** `storageProfile` of the machine. */
  async storage(vm: VirtualMachine): Promise<unknown> {
    const { content } = await this.extras(vm);
    return storageShown(vm, content, await this.#parts.resourceRecords.idsOf(disksOf(vm)));
  }

  async instanceView({ name }: VirtualMachine, extras: ResourceExtras, caller: Caller): Promise<unknown> {
    const { backends, names } = this.#parts;
    const view = await backends.compute.getInstanceView({ name }, caller.as('compute'));
    return instanceViewShown(names, view, computerNameOf(extras));
  }

  /** Machines of a list; their instance views come with it. */
  async allShown(machines: readonly VirtualMachine[]): Promise<readonly unknown[]> {
    const { names, resourceRecords } = this.#parts;
    const all = await resourceRecords.find(machines.map(incarnationOf));
    const idOf = await resourceRecords.idsOf(machines.flatMap(disksOf));
    return machines.map((vm, n) => {
      const extras = all[n] as ResourceExtras;
      const view = vm.instanceView && instanceViewShown(names, vm.instanceView, computerNameOf(extras));
      return machineBody(vm, extras, idOf, view);
    });
  }
}

/** Whether a request wants instance views. */
export const isExpanded = (query: Readonly<Record<string, string>>): boolean =>
  query.statusOnly?.toLowerCase() === 'true' || (query.$expand ?? '').toLowerCase().split(',').includes('instanceview');

const incarnationOf = ({ name, uniqueId }: VirtualMachine) => ({ name, incarnation: uniqueId });
