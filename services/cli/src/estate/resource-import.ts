import type { JsonObject } from '@bufbuild/protobuf';
import { disksOfMachine, type EstateDisk, type EstateMachine, type EstateSet, skuOfClass } from '@interlock/lab';
import { settle } from '../commands/settle.ts';
import { isObject, methodOf, Service, type ServiceName } from '../request/schema.ts';
import { type ImportParts, WAIT_MS } from './import-parts.ts';
import type { KeyImport } from './key-import.ts';

type Owner = 'disk-encryption-set' | 'disk' | 'compute';

const contracts: Readonly<Record<Owner, ServiceName>> = {
  'disk-encryption-set': Service.diskEncryptionSet,
  disk: Service.disk,
  compute: Service.compute,
};

/** Makes sets, disks and machines, each after those that it needs. */
export class ResourceImport {
  readonly #parts: ImportParts;
  readonly #keys: KeyImport;

  constructor(parts: ImportParts, keys: KeyImport) {
    this.#parts = parts;
    this.#keys = keys;
  }

  /** Makes a set, and lets its identity use the vault. */
  async set(set: EstateSet): Promise<void> {
    const { parent, existing, estate, made } = this.#parts;
    const name = `${parent}/diskEncryptionSets/${set.name}`;
    let found = existing.get(name);
    if (found === undefined) {
      const version = await this.#keys.version(set.key, set.version);
      const created = await this.#call('disk-encryption-set', 'CreateDiskEncryptionSet', {
        parent,
        diskEncryptionSetId: set.name,
        location: set.location ?? estate.location,
        keyUrl: String(version.keyUrl),
        encryptionType:
          set.encryption === 'platform-and-customer-keys'
            ? 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS'
            : 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
        autoRestart: set.autoRestart === true,
        autoKeyRotationEnabled: set.autoKeyRotation === true,
        ...(set.keyExpiry === 'next-start' ? { keyExpiry: 'NEXT_START' } : {}),
      });
      made(`set ${set.name}`);
      found = await this.#settled('disk-encryption-set', 'GetDiskEncryptionSet', created, false);
    }
    const principal = isObject(found.identity) ? String(found.identity.principal ?? '') : '';
    // A repeated import grants again: an earlier one may have ended in between.
    if (principal !== '' && isLost(found)) await this.#keys.grant(principal, set.key.split('/')[0] ?? '');
  }

  async disk(disk: EstateDisk): Promise<void> {
    const { parent, existing, estate, made } = this.#parts;
    if (existing.has(`${parent}/disks/${disk.name}`)) return;
    const created = await this.#call('disk', 'CreateDisk', {
      parent,
      diskId: disk.name,
      location: disk.location ?? estate.location,
      sku: skuOfClass[disk.class],
      sizeGib: String(disk.gib),
      ...(disk.set === undefined ? {} : { encryption: this.#encryption(disk.set) }),
    });
    await this.#settled('disk', 'GetDisk', created, false);
    made(`disk ${disk.name}`);
  }

  async machine(machine: EstateMachine): Promise<void> {
    const { parent, existing, estate, made } = this.#parts;
    const name = `${parent}/virtualMachines/${machine.name}`;
    const disks = new Map(estate.disks.map((disk) => [disk.name, disk]));
    const data = machine.dataDisks ?? [];
    if (!existing.has(name)) {
      const created = await this.#call('compute', 'CreateVirtualMachine', {
        parent,
        virtualMachineId: machine.name,
        location: machine.location ?? estate.location,
        osDisk: { disk: `${parent}/disks/${machine.osDisk}` },
        dataDisks: data.map(({ lun, disk }) => ({ lun, disk: `${parent}/disks/${disk}` })),
        ultraSsdEnabled: data.some(({ disk }) => disks.get(disk)?.class === 'ultra'),
        guest: (machine.guest ?? 'process').toUpperCase(),
        workload: { kind: this.#isWriting(machine) ? 'WRITE_AND_VERIFY' : 'IDLE' },
      });
      await this.#settled('compute', 'GetVirtualMachine', created, true);
      made(`machine ${machine.name}`);
    }
    const state = existing.get(name)?.powerState;
    if (machine.running !== false || (state !== undefined && state !== 'RUNNING')) return;
    const stopping = await this.#call('compute', 'DeallocateVirtualMachine', { name });
    await this.#settled('compute', 'GetVirtualMachine', stopping, false);
    made(`machine ${machine.name} deallocated`);
  }

  /** Whether a new machine writes to its disks. It never writes by default over what others wrote. */
  #isWriting(machine: EstateMachine): boolean {
    const { parent, existing, writing, note } = this.#parts;
    if (writing !== 'new disks' || machine.guest === 'idle') return writing === 'always';
    const old = disksOfMachine(machine).find((disk) => existing.has(`${parent}/disks/${disk}`));
    if (old !== undefined)
      note(`machine ${machine.name} is idle: its disk ${old} existed already; --write-and-verify writes over it`);
    return old === undefined;
  }

  #encryption(set: string): JsonObject {
    const { parent, estate } = this.#parts;
    const isDouble = estate.sets.find(({ name }) => name === set)?.encryption === 'platform-and-customer-keys';
    return {
      type: isDouble ? 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS' : 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
      diskEncryptionSet: `${parent}/diskEncryptionSets/${set}`,
    };
  }

  #call(service: Owner, method: string, request: JsonObject): Promise<JsonObject> {
    return this.#parts.session.caller.call(service, methodOf(contracts[service], method), request);
  }

  /** Waits until a resource is in no transient state. @throws NotSettled */
  #settled(service: Owner, get: string, created: JsonObject, mustRun: boolean): Promise<JsonObject> {
    const { clock, timeoutMs = WAIT_MS } = this.#parts.session;
    return settle(created, {
      get: () => this.#call(service, get, { name: String(created.name) }),
      clock,
      timeoutMs,
      startedMs: clock.monotonicMs(),
      mustRun,
      isDeletion: false,
      report: () => undefined,
    });
  }
}

/** Whether a set cannot use its key, as a set without a grant. */
const isLost = ({ keyAccess }: JsonObject): boolean =>
  !Array.isArray(keyAccess) || keyAccess.some((one) => isObject(one) && one.state !== 'AVAILABLE');
