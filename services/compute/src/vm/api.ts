import type {
  AttachDiskRequest,
  CreateVirtualMachineRequest,
  DeallocateVirtualMachineRequest,
  DeleteVirtualMachineRequest,
  DetachDiskRequest,
  PowerOffVirtualMachineRequest,
  RestartVirtualMachineRequest,
  StartVirtualMachineOutcome,
  StartVirtualMachineRequest,
  StartVirtualMachinesRequest,
  VirtualMachine,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { type Category, type EventStore, type Loaded, Rejection } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import {
  type Authorizer,
  type Call,
  expectedVersion,
  type ItemOutcome,
  itemRefusal,
  names,
  principalOf,
  requirePermission,
  settleItems,
} from '@interlock/rpc';
import { type Clock, DomainAttribute, type Logger } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Engine } from '../processes/engine.ts';
import { refusalOf } from '../processes/failures.ts';
import { originOf } from './causes.ts';
import { changesOf } from './changes.ts';
import type { VmEvent } from './events.ts';
import {
  attach,
  create,
  deallocate,
  detach,
  isLeftOver,
  notAttached,
  type Operation,
  powerOff,
  remove,
  restart,
  start,
} from './operations.ts';
import type { DiskPlanner } from './planning.ts';
import { checkDisk, checkLun, specOf } from './requests.ts';
import { currentWork, type Vm } from './state.ts';
import { shown, vmOnWire } from './wire.ts';

/** Most machines started in one call. With the most disks and long names, a response stays below half of the largest message. */
const startsMax = 256;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What the calls of users need. */
interface VmApiParts {
  readonly store: EventStore;
  readonly vms: Category<Vm, VmEvent>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly engine: Pick<Engine, 'kick' | 'resume'>;
  readonly authorize: Authorizer;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly plan: DiskPlanner;
  readonly dataDisksMax: number;
}

/** What users do with machines. Each call decides, and responds with the machine in its passing state. */
export const vmApi = (parts: VmApiParts) => ({
  createVirtualMachine: (request: CreateVirtualMachineRequest, call: Call) => createMachine(parts, request, call),
  startVirtualMachine: (request: StartVirtualMachineRequest, call: Call) => command(parts, request, call, start),
  startVirtualMachines: (request: StartVirtualMachinesRequest, call: Call) => startMachines(parts, request, call),
  powerOffVirtualMachine: (request: PowerOffVirtualMachineRequest, call: Call) =>
    command(parts, request, call, (operation) => powerOff(operation, { isHard: request.skipShutdown })),
  deallocateVirtualMachine: (request: DeallocateVirtualMachineRequest, call: Call) =>
    command(parts, request, call, deallocate),
  async restartVirtualMachine(request: RestartVirtualMachineRequest, call: Call) {
    if (!uuid.test(request.requestId)) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'REQUEST_ID_INVALID',
        'request_id must be a UUID in lower case, chosen by the caller, so that a repeat does not restart twice',
        { field: 'request_id' },
      );
    }
    return command(parts, request, call, (operation) => restart(operation, request.requestId));
  },
  deleteVirtualMachine: (request: DeleteVirtualMachineRequest, call: Call) => command(parts, request, call, remove),
  attachDisk: (request: AttachDiskRequest, call: Call) => attachDisk(parts, request, call),
  async detachDisk(request: DetachDiskRequest, call: Call) {
    names.disk.parse(request.disk, 'disk');
    return command(parts, request, call, (operation) => detach(operation, request.disk));
  },
});

const checkName = (name: string): string => {
  names.virtualMachine.parse(name, 'name');
  trace.getActiveSpan()?.setAttribute(DomainAttribute.virtualMachine, name);
  return name;
};

const operationOf = ({ clock }: VmApiParts, vm: string, { requestId, cause }: Call): Operation => ({
  ...{ vm, id: requestId, at: clock.now() },
  ...originOf(cause),
});

/** Decides, and starts the process that follows. */
const command = async (
  parts: VmApiParts,
  { name, etag }: { readonly name: string; readonly etag: string },
  call: Call,
  decision: (operation: Operation) => (vm: Vm) => readonly VmEvent[],
): Promise<VirtualMachine> => {
  const vm = checkName(name);
  const stored = await parts.vms.transact(
    vm,
    decision(operationOf(parts, vm, call)),
    call.cause,
    expectedVersion(etag),
  );
  parts.engine.resume([stored]);
  return vmOnWire(stored);
};

const createMachine = async (parts: VmApiParts, request: CreateVirtualMachineRequest, call: Call) => {
  const { vms, engine, subscriptions, plan, dataDisksMax } = parts;
  const { vm, spec } = specOf(request, dataDisksMax);
  checkName(vm);
  const { state } = await vms.load(vm);
  const operation = operationOf(parts, vm, call);
  if (state.status === 'creating' || state.status === 'active') {
    create(operation, spec, [])(state);
  } else {
    await subscriptions.requireOwn(vm, call);
    const about = { vm, location: spec.location, ultraSsdEnabled: spec.ultraSsdEnabled };
    const disks = await Promise.all(
      spec.disks.map((disk) => plan(disk, about, disk.isOs ? 'os_disk' : `data_disks (LUN ${disk.lun})`, call)),
    );
    await vms.transact(vm, create(operation, spec, disks), call.cause);
  }
  engine.kick([vm]);
  return untilOver(parts, vm, call, (now) => {
    if (now.status === 'abandoned') return refusalOf(now.failure, vm);
    // After a failed creation another machine may have got the name.
    if (now.status === 'creating' || now.status === 'active') create(operation, spec, [])(now);
    return now.status === 'creating' ? 'pending' : 'done';
  });
};

const attachDisk = async (parts: VmApiParts, request: AttachDiskRequest, call: Call) => {
  const { vms, engine, plan, dataDisksMax } = parts;
  const vm = checkName(request.name);
  const { osDisk: isOs } = request;
  const lun = isOs ? 0 : checkLun(request.lun, 'lun');
  const disk = checkDisk(request.disk, 'disk', vm);
  const { location, ultraSsdEnabled } = shown(await vms.load(vm)).spec;
  const spec = { disk, lun, isOs, deleteWithVm: request.deleteWithVm };
  const planned = await plan(spec, { vm, location, ultraSsdEnabled }, 'disk', call);
  await untilFreed(parts, vm, disk, call);
  const operation = operationOf(parts, vm, call);
  const decision = attach(operation, planned, dataDisksMax);
  const { state } = await vms.transact(vm, decision, call.cause, expectedVersion(request.etag));
  engine.kick([vm]);
  // A repeat waits for the attach that is under way, also if another caller requested it.
  const work = currentWork(state);
  const id = work?.disk === disk ? work.id : operation.id;
  return untilOver(parts, vm, call, (now) => {
    if (now.status !== 'active') return 'done';
    if (now.failure?.operationId === id) return refusalOf(now.failure, vm);
    if (now.power.work?.id === id) return 'pending';
    // The machine no longer knows an attach that a stop cut short once it runs again.
    return now.disks.some((one) => one.disk === disk && one.phase !== 'attaching') ? 'done' : notAttached(vm, disk);
  });
};

/** Responds once an operation that other services may refuse is over. @throws Rejection as they refused it */
const untilOver = async (
  parts: VmApiParts,
  vm: string,
  call: Call,
  outcomeOf: (state: Vm) => Rejection | 'pending' | 'done',
): Promise<VirtualMachine> => {
  for await (const loaded of changesOf(parts, vm, call.signal)) {
    const outcome = outcomeOf(loaded.state);
    if (outcome === 'done') return vmOnWire(loaded);
    if (outcome !== 'pending') throw outcome;
  }
  throw new Rejection('UNAVAILABLE', 'STILL_IN_PROGRESS', `${vm} is still being worked on; call again`, { vm });
};

/** Waits until a disk that a stop left half attached is free: a repeat of that attach starts over. */
const untilFreed = async (parts: VmApiParts, vm: string, disk: string, call: Call): Promise<void> => {
  for await (const { state } of changesOf(parts, vm, call.signal)) {
    if (state.status !== 'active' || !isLeftOver(state, disk)) return;
  }
};

const startMachines = async (parts: VmApiParts, { names: wanted }: StartVirtualMachinesRequest, call: Call) => {
  const { authorize, log } = parts;
  const principal = principalOf(call);
  const requireStart = (name: string) => requirePermission(authorize, principal, 'compute/virtualMachines/start', name);
  let first: Promise<void> | undefined;
  const allowed = await settleItems(wanted, { sizeMax: startsMax, field: 'names', log }, async (name) => {
    names.virtualMachine.parse(name, 'names');
    const before = first;
    first ??= requireStart(name);
    // Usually the same role allows all of them, and the cached decision about the first serves the others.
    await before?.catch(() => undefined);
    await (before === undefined ? first : requireStart(name));
    return name;
  });
  const ids = new Set(allowed.flatMap((one) => ('answer' in one ? [one.answer] : [])));
  const started = await startAll(parts, [...ids], call);
  return { outcomes: allowed.map((one) => ({ outcome: startOutcome(one, started) })) };
};

/** Decides about many machines in one commit. @returns each machine as it is then, or why it was refused */
const startAll = async (
  parts: VmApiParts,
  ids: readonly string[],
  call: Call,
): Promise<ReadonlyMap<string, Loaded<Vm> | Rejection>> => {
  const found = new Map<string, Loaded<Vm> | Rejection>();
  const decide = (state: Vm, vm: string, version: number): readonly VmEvent[] => {
    found.set(vm, { id: vm, state, version });
    return start(operationOf(parts, vm, call))(state);
  };
  // One machine that others keep changing does not hold up the rest.
  const { changed, rejected } = await parts.vms.transactMany(ids, decide, call.cause, { onContention: 'reject' });
  for (const machine of changed) found.set(machine.id, machine);
  for (const { id, rejection } of rejected) found.set(id, rejection);
  // Also the unchanged ones: the replica that started their work may be gone.
  parts.engine.resume([...found.values()].flatMap((one) => (one instanceof Rejection ? [] : [one])));
  return found;
};

/** @param started the machines its caller may start, as they are now or with the reason of the refusal */
const startOutcome = (
  allowed: ItemOutcome<string>,
  started: ReadonlyMap<string, Loaded<Vm> | Rejection>,
): StartVirtualMachineOutcome['outcome'] => {
  const machine = 'refused' in allowed ? undefined : started.get(allowed.answer);
  if (machine !== undefined && !(machine instanceof Rejection)) return { $case: 'starting', value: vmOnWire(machine) };
  return { $case: 'refused', value: { ...('refused' in allowed ? allowed.refused : itemRefusal(machine)) } };
};
