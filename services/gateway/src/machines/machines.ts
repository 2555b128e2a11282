import type { VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { CallOptions } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionOf } from '../cloud/encryption.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { innerName, lastSegment, type NamedPath } from '../cloud/resource-names.ts';
import { invalid } from '../disks/disk-body.ts';
import { errorOfFailure } from '../errors/key-failure.ts';
import { RestError } from '../errors/rest-error.ts';
import { refuseMove, requireLocation } from '../management/arm.ts';
import type { ResourceRecords } from '../management/resource-records.ts';
import { longCallMs, readUntil } from '../operations/wait.ts';
import type { PageQuery, ServiceCalls, ServicePage } from '../resource-types/service-type.ts';
import { type DiskChanges, diskChangesOf } from './disk-changes.ts';
import type { DataDiskGiven, MachineGiven, OsDiskGiven } from './machine-schemas.ts';
import { attachedName, diskForMachine, isDeletedWithMachine, kindOf, newDiskOf } from './new-disks.ts';

/** What machines need. */
export interface MachineParts {
  readonly backends: Pick<Backends, 'compute' | 'disks' | 'sets'>;
  readonly names: CloudNames;
  readonly resourceRecords: ResourceRecords;
  readonly clock: Clock;
  readonly random: Random;
}

/** Power actions, by their last path segment. */
export type PowerAction = 'start' | 'powerOff' | 'deallocate' | 'restart' | 'redeploy' | 'reapply';

const passing: readonly string[] = ['CREATING', 'UPDATING', 'DELETING'];
const passingPower: readonly string[] = ['CREATING', 'STARTING', 'STOPPING', 'DEALLOCATING'];

/** The calls to the service of machines. */
export class Machines implements ServiceCalls<VirtualMachine, MachineGiven> {
  readonly #parts: MachineParts;

  constructor(parts: MachineParts) {
    this.#parts = parts;
  }

  get(name: string, options: CallOptions): Promise<VirtualMachine> {
    return this.#parts.backends.compute.getVirtualMachine({ name }, options);
  }

  delete(name: string, options: CallOptions): Promise<unknown> {
    return this.#parts.backends.compute.deleteVirtualMachine({ name }, options);
  }

  async list(page: PageQuery, options: CallOptions, query: Query): Promise<ServicePage<VirtualMachine>> {
    const view = isExpanded(query) ? 'FULL' : 'BASIC';
    const found = await this.#parts.backends.compute.listVirtualMachines({ ...page, view }, options);
    return { found: found.virtualMachines, next: found.nextPageToken };
  }

  /** Creates the machine and its new disks, and waits until it runs. */
  async create(path: NamedPath, body: MachineGiven, caller: Caller): Promise<VirtualMachine> {
    const { backends, names } = this.#parts;
    refuseIdentity(body);
    const { storageProfile: { osDisk, dataDisks = [] } = {}, additionalCapabilities } = body.properties ?? {};
    if (osDisk === undefined) throw invalid('properties.storageProfile.osDisk', 'is required for a new machine');
    const disk = async (given: OsDiskGiven | DataDiskGiven, field: string, isOs: boolean) =>
      diskForMachine(names, given, { field, isOs, encryption: await this.#encryptionOf(given, caller) });
    // All at once: a refusal of one that is awaited later would end the process.
    const [os, ...data] = await Promise.all([
      disk(osDisk, 'properties.storageProfile.osDisk', true),
      ...dataDisks.map((one, n) => disk(one, `properties.storageProfile.dataDisks[${n}]`, false)),
    ]);
    const { name } = await backends.compute.createVirtualMachine(
      {
        parent: groupName(names, path.subscription, path.group),
        virtualMachineId: path.name.toLowerCase(),
        location: requireLocation(body.location),
        osDisk: os,
        dataDisks: data,
        ultraSsdEnabled: additionalCapabilities?.ultraSSDEnabled ?? false,
      },
      { ...caller.as('compute'), deadlineMs: longCallMs },
    );
    const made = [osDisk, ...dataDisks].filter((one) => kindOf(one, 'storageProfile') === 'make');
    await Promise.all(made.map((one) => this.#keepName(path, one.name, caller)));
    return this.#ended(name, caller);
  }

  /** Keeps the name of a new disk in the case that the client wrote. */
  async #keepName(path: NamedPath, diskName: string | undefined, caller: Caller): Promise<void> {
    const { backends, names, resourceRecords } = this.#parts;
    if (diskName === undefined) return;
    const disk = { ...path, name: diskName };
    const name = innerName(names, disk, 'disks');
    const { uniqueId } = await backends.disks.getDisk({ name }, caller.as('disk'));
    await resourceRecords.put({ name, incarnation: uniqueId }, disk, { tags: {}, content: {} }, caller);
  }

  /** Changes the disks to those of the body; what is absent stays. */
  async update(vm: VirtualMachine, body: MachineGiven, caller: Caller): Promise<VirtualMachine> {
    refuseIdentity(body);
    refuseMove(body.location, vm.location, vm.name);
    this.#refuseFixed(vm, body);
    const { osDisk, dataDisks } = body.properties?.storageProfile ?? {};
    const changed = osDisk?.managedDisk?.id === undefined ? vm : await this.#exchangeOsDisk(vm, osDisk, caller);
    if (dataDisks === undefined) return changed;
    return this.change(changed, diskChangesOf(this.#parts.names, changed.dataDisks, dataDisks), caller);
  }

  /** Attaches another OS disk in place of the present one (VM-19); the present one is attached again if that is refused. */
  async #exchangeOsDisk(vm: VirtualMachine, given: OsDiskGiven, caller: Caller): Promise<VirtualMachine> {
    const { compute, disks } = this.#parts.backends;
    const { name, osDisk: before } = vm;
    const disk = attachedName(this.#parts.names, given, 'properties.storageProfile.osDisk');
    if (disk === before?.disk) return vm;
    const options = { ...caller.as('compute'), deadlineMs: longCallMs };
    await disks.getDisk({ name: disk }, caller.as('disk'));
    if (before !== undefined) {
      await compute.detachDisk({ name, disk: before.disk }, options);
      await this.#ended(name, caller, vm);
    }
    try {
      await compute.attachDisk({ name, disk, osDisk: true, deleteWithVm: isDeletedWithMachine(given) }, options);
    } catch (error) {
      if (before !== undefined) {
        const { disk: old, deleteWithVm } = before;
        await compute.attachDisk({ name, disk: old, osDisk: true, deleteWithVm }, options);
      }
      throw error;
    }
    return this.#ended(name, caller, vm);
  }

  /** Detaches and attaches data disks, one at a time. */
  async change(vm: VirtualMachine, { detach, attach }: DiskChanges, caller: Caller): Promise<VirtualMachine> {
    const { compute } = this.#parts.backends;
    const { name } = vm;
    const options = { ...caller.as('compute'), deadlineMs: longCallMs };
    let changed = vm;
    for (const disk of detach) {
      await compute.detachDisk({ name, disk }, options);
      changed = await this.#ended(name, caller, vm);
    }
    for (const [n, given] of attach.entries()) {
      const field = `properties.storageProfile.dataDisks[${n}]`;
      if (given.lun === undefined) throw invalid(`${field}.lun`, 'is required');
      const disk = await this.#diskToAttach(vm, given, field, caller);
      await compute.attachDisk({ name, disk, lun: given.lun, deleteWithVm: isDeletedWithMachine(given) }, options);
      changed = await this.#ended(name, caller, vm);
    }
    return changed;
  }

  /** Runs a power action to its end. @throws RestError with the reason of a key where the machine does not start (VM-47) */
  async act(name: string, action: PowerAction, query: Query, caller: Caller): Promise<void> {
    const { backends, random } = this.#parts;
    const { compute } = backends;
    const options = { ...caller.as('compute'), deadlineMs: longCallMs };
    const before = await compute.getVirtualMachine({ name }, options);
    switch (action) {
      case 'start':
        await compute.startVirtualMachine({ name }, options);
        return this.#running(before, caller);
      case 'restart':
        await compute.restartVirtualMachine({ name, requestId: random.uuid() }, options);
        return this.#running(before, caller);
      case 'powerOff':
        await compute.powerOffVirtualMachine({ name, skipShutdown: query.skipShutdown === 'true' }, options);
        break;
      case 'deallocate':
        await compute.deallocateVirtualMachine({ name }, options);
        break;
      case 'redeploy': {
        // Another host: the same as deallocate and start (VM-15).
        await this.act(name, 'deallocate', query, caller);
        const wasOn = before.powerState === 'RUNNING' || before.powerState === 'STARTING';
        return wasOn ? this.act(name, 'start', query, caller) : undefined;
      }
      case 'reapply':
        break;
    }
    await this.#ended(name, caller, before);
  }

  /** A disk to attach: an existing one, or a new one that is made for it in the group of the machine. */
  async #diskToAttach(vm: VirtualMachine, given: DataDiskGiven, field: string, caller: Caller): Promise<string> {
    const { backends, names } = this.#parts;
    if (kindOf(given, field) === 'attach') return attachedName(names, given, field);
    const encryption = await this.#encryptionOf(given, caller);
    const { diskId, sku, sizeGib } = newDiskOf(given, { field, isOs: false, encryption });
    const parent = vm.name.split('/').slice(0, 4).join('/');
    const request = { parent, diskId: diskId || `${lastSegment(vm.name)}-data-${given.lun}`, location: vm.location };
    const options = { ...caller.as('disk'), deadlineMs: longCallMs };
    const made = { ...request, sku, sizeGib, ...(encryption && { encryption }) };
    return (await backends.disks.createDisk(made, options)).name;
  }

  async #encryptionOf({ managedDisk }: OsDiskGiven | DataDiskGiven, caller: Caller) {
    const id = managedDisk?.diskEncryptionSet?.id;
    return id === undefined || managedDisk?.id !== undefined
      ? undefined
      : encryptionOf(this.#parts, { diskEncryptionSetId: id }, caller);
  }

  /** @throws RestError for what no machine can change here */
  #refuseFixed(vm: VirtualMachine, body: MachineGiven): void {
    const ultra = body.properties?.additionalCapabilities?.ultraSSDEnabled;
    if (ultra !== undefined && ultra !== vm.ultraSsdEnabled)
      throw fixed('additionalCapabilities.ultraSSDEnabled', String(vm.ultraSsdEnabled));
  }

  /**
   * Waits until nothing is being done to the machine.
   * @param before the machine before the operation: a failure that it has already is of an earlier one
   * @throws RestError the failure of the operation
   */
  async #ended(name: string, caller: Caller, before?: VirtualMachine): Promise<VirtualMachine> {
    const options = caller.as('compute');
    const vm = await readUntil(
      this.#parts.clock,
      () => this.get(name, options),
      ({ provisioningState, powerState }) => !passing.includes(provisioningState) && !passingPower.includes(powerState),
    );
    const isOld = vm.failure?.failureTime?.getTime() === before?.failure?.failureTime?.getTime();
    if (vm.provisioningState !== 'FAILED' || vm.failure === undefined || isOld) return vm;
    const diskEncryptionSet = vm.failure.accessLoss?.diskEncryptionSet ?? '';
    throw errorOfFailure({ ...vm.failure, diskEncryptionSet });
  }

  /** @throws RestError where a start has ended without a running machine: an access loss came in between */
  async #running(before: VirtualMachine, caller: Caller): Promise<void> {
    const { name } = before;
    const { powerState, stopReason } = await this.#ended(name, caller, before);
    if (powerState === 'RUNNING') return;
    if (stopReason === undefined)
      throw new RestError(
        409,
        'Conflict',
        `${name} was started, and is ${powerState}: another operation came in between`,
      );
    const { reason, diskEncryptionSet, keyVersion } = stopReason;
    const message = `${name} was stopped while it started: ${reason} of ${keyVersion}`;
    throw errorOfFailure({ code: reason, message, diskEncryptionSet });
  }
}

type Query = Readonly<Record<string, string>>;

/** Whether a request wants instance views. */
export const isExpanded = (query: Query): boolean =>
  query.statusOnly?.toLowerCase() === 'true' || (query.$expand ?? '').toLowerCase().split(',').includes('instanceview');

/** @throws RestError 400 for an identity: a guest calls nothing, so machines have none */
const refuseIdentity = ({ identity }: MachineGiven): void => {
  if (identity?.type === undefined || identity.type.toLowerCase() === 'none') return;
  throw new RestError(
    400,
    'NotSupported',
    `identity.type of a machine must be None: a guest reads and writes disks and calls nothing (got "${identity.type}")`,
  );
};

const fixed = (property: string, value: string): RestError =>
  new RestError(409, 'PropertyChangeNotAllowed', `Changing property '${property}' is not allowed (it is ${value}).`, {
    details: [{ code: 'PropertyChangeNotAllowed', message: 'the property is fixed', target: property }],
  });
