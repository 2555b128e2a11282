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
import type { Engine } from '../work/engine.ts';
import { refusalOf } from '../work/failures.ts';
import { changesOf } from './changes.ts';
import type { VmEvent } from './events.ts';
import {
  type Ask,
  attach,
  create,
  deallocate,
  detach,
  isLeftOver,
  notAttached,
  powerOff,
  remove,
  restart,
  start,
} from './operations.ts';
import type { DiskPlanner } from './planning.ts';
import { checkDisk, checkLun, wishOf } from './requests.ts';
import { currentWork, type Vm } from './state.ts';
import { shown, vmOnWire } from './wire.ts';

/**
 * Most machines started in one call: with as many disks as they may have and with long names, an answer stays below half of
 * the largest message.
 */
const startsMax = 256;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What people do with machines: request in, decision, machine in its passing state out. */
export const vmApi = (parts: {
  readonly store: EventStore;
  readonly vms: Category<Vm, VmEvent>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly engine: Pick<Engine, 'kick' | 'resume'>;
  readonly authorize: Authorizer;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly plan: DiskPlanner;
  readonly dataDisksMax: number;
}) => {
  const { vms, clock, log, engine, authorize, subscriptions, plan, dataDisksMax } = parts;

  const checkName = (name: string): string => {
    names.virtualMachine.parse(name, 'name');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.virtualMachine, name);
    return name;
  };
  const askOf = (vm: string, { requestId, cause }: Call): Ask => ({ vm, id: requestId, at: clock.now(), ...cause });

  /** Decides, and has carried out what was decided. */
  const command = async (
    { name, etag }: { readonly name: string; readonly etag: string },
    call: Call,
    decision: (ask: Ask) => (vm: Vm) => readonly VmEvent[],
  ): Promise<VirtualMachine> => {
    const vm = checkName(name);
    const loaded = await vms.transact(vm, decision(askOf(vm, call)), call.cause, expectedVersion(etag));
    engine.resume([loaded]);
    return vmOnWire(loaded);
  };

  /** Decides about many machines in one commit, and has carried out what was decided. @returns each as it is then, or why not */
  const startAll = async (ids: readonly string[], call: Call): Promise<ReadonlyMap<string, Loaded<Vm> | Rejection>> => {
    const found = new Map<string, Loaded<Vm> | Rejection>();
    const decide = (state: Vm, vm: string, version: number): readonly VmEvent[] => {
      found.set(vm, { id: vm, state, version });
      return start(askOf(vm, call))(state);
    };
    // One that others keep changing is no reason to leave those alone that are decided: they are begun here.
    const { changed, rejected } = await vms.transactMany(ids, decide, call.cause, { onContention: 'reject' });
    for (const machine of changed) found.set(machine.id, machine);
    for (const { id, rejection } of rejected) found.set(id, rejection);
    // Also what was under way before, as with one: whoever began it may be gone.
    engine.resume([...found.values()].flatMap((one) => (one instanceof Rejection ? [] : [one])));
    return found;
  };

  /** Answers once a wish that may be refused by others is settled. @throws Rejection as they refused it */
  const settled = async (vm: string, call: Call, refused: (state: Vm) => Rejection | 'pending' | 'done') => {
    for await (const loaded of changesOf(parts, vm, call.signal)) {
      const outcome = refused(loaded.state);
      if (outcome === 'done') return vmOnWire(loaded);
      if (outcome !== 'pending') throw outcome;
    }
    throw new Rejection('UNAVAILABLE', 'STILL_IN_PROGRESS', `${vm} is still being worked on; ask again`, { vm });
  };

  /** Waits until what a stop has left of an earlier attach is gone: whoever repeats that attach begins it anew. */
  const freed = async (vm: string, disk: string, call: Call): Promise<void> => {
    for await (const { state } of changesOf(parts, vm, call.signal)) {
      if (state.status !== 'active' || !isLeftOver(state, disk)) return;
    }
  };

  return {
    async createVirtualMachine(request: CreateVirtualMachineRequest, call: Call) {
      const { vm, wish } = wishOf(request, dataDisksMax);
      checkName(vm);
      const { state } = await vms.load(vm);
      const ask = askOf(vm, call);
      if (state.status === 'creating' || state.status === 'active') {
        create(ask, wish, [])(state);
      } else {
        await subscriptions.requireOwn(vm, call);
        const about = { vm, location: wish.location, ultraSsdEnabled: wish.ultraSsdEnabled };
        const disks = await Promise.all(
          wish.disks.map((disk) => plan(disk, about, disk.isOs ? 'os_disk' : `data_disks (LUN ${disk.lun})`, call)),
        );
        await vms.transact(vm, create(ask, wish, disks), call.cause);
      }
      engine.kick([vm]);
      return settled(vm, call, (now) => {
        if (now.status === 'abandoned') return refusalOf(now.failure, vm);
        // Since it came to nothing, its name may have become that of another one.
        if (now.status === 'creating' || now.status === 'active') create(ask, wish, [])(now);
        return now.status === 'creating' ? 'pending' : 'done';
      });
    },
    startVirtualMachine: (request: StartVirtualMachineRequest, call: Call) => command(request, call, start),
    async startVirtualMachines({ names: wanted }: StartVirtualMachinesRequest, call: Call) {
      const principal = principalOf(call);
      const ask = (name: string) => requirePermission(authorize, principal, 'compute/virtualMachines/start', name);
      let first: Promise<void> | undefined;
      const allowed = await settleItems(wanted, { sizeMax: startsMax, field: 'names', log }, async (name) => {
        names.virtualMachine.parse(name, 'names');
        const before = first;
        first ??= ask(name);
        // Mostly all may be started by the same role: what is known of one then answers for the others.
        await before?.catch(() => undefined);
        await (before === undefined ? first : ask(name));
        return name;
      });
      const started = await startAll(
        [...new Set(allowed.flatMap((one) => ('answer' in one ? [one.answer] : [])))],
        call,
      );
      return { outcomes: allowed.map((one) => ({ outcome: startOutcome(one, started) })) };
    },
    powerOffVirtualMachine: (request: PowerOffVirtualMachineRequest, call: Call) =>
      command(request, call, (ask) => powerOff(ask, { isHard: request.skipShutdown })),
    deallocateVirtualMachine: (request: DeallocateVirtualMachineRequest, call: Call) =>
      command(request, call, deallocate),
    async restartVirtualMachine(request: RestartVirtualMachineRequest, call: Call) {
      if (!uuid.test(request.requestId)) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'REQUEST_ID_INVALID',
          'request_id must be a UUID in lower case, chosen by the caller, so that a repeat does not restart twice',
          { field: 'request_id' },
        );
      }
      return command(request, call, (ask) => restart(ask, request.requestId));
    },
    deleteVirtualMachine: (request: DeleteVirtualMachineRequest, call: Call) => command(request, call, remove),
    async attachDisk(request: AttachDiskRequest, call: Call) {
      const vm = checkName(request.name);
      const lun = checkLun(request.lun, 'lun');
      const disk = checkDisk(request.disk, 'disk', vm);
      const loaded = await vms.load(vm);
      const { location, ultraSsdEnabled } = shown(loaded).wish;
      const wished = { disk, lun, isOs: false, deleteWithVm: request.deleteWithVm };
      const planned = await plan(wished, { vm, location, ultraSsdEnabled }, 'disk', call);
      await freed(vm, disk, call);
      const ask = askOf(vm, call);
      const { state } = await vms.transact(
        vm,
        attach(ask, planned, dataDisksMax),
        call.cause,
        expectedVersion(request.etag),
      );
      engine.kick([vm]);
      // A repeat waits for the attach that is under way, whoever asked for it.
      const work = currentWork(state);
      const id = work?.disk === disk ? work.id : ask.id;
      return settled(vm, call, (now) => {
        if (now.status !== 'active') return 'done';
        if (now.failure?.operationId === id) return refusalOf(now.failure, vm);
        if (now.power.work?.id === id) return 'pending';
        // Of an attach that a stop has cut short nothing is said any more once the machine runs again.
        return now.disks.some((one) => one.disk === disk && one.phase !== 'attaching') ? 'done' : notAttached(vm, disk);
      });
    },
    async detachDisk(request: DetachDiskRequest, call: Call) {
      names.disk.parse(request.disk, 'disk');
      return command(request, call, (ask) => detach(ask, request.disk));
    },
  };
};

/** @param started what became of those its caller may start */
const startOutcome = (
  allowed: ItemOutcome<string>,
  started: ReadonlyMap<string, Loaded<Vm> | Rejection>,
): StartVirtualMachineOutcome['outcome'] => {
  const machine = 'refused' in allowed ? undefined : started.get(allowed.answer);
  if (machine !== undefined && !(machine instanceof Rejection)) return { $case: 'starting', value: vmOnWire(machine) };
  return { $case: 'refused', value: { ...('refused' in allowed ? allowed.refused : itemRefusal(machine)) } };
};
