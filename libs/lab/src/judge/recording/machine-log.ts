import type { RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import type { DiskRecord, MachineRecord, PlacementRecord, PowerRecord, StartRecord } from '../../record.ts';
import type { ReadVmEvent } from '../events/compute.ts';
import { readEvent } from '../events/recorded.ts';

/** What is read of a disk when the timeline starts. */
export type DiskFacts = Pick<DiskRecord, 'keyVersion' | 'diskHost'>;

/** A machine of an estate, as its target made it. */
interface KnownMachine extends Pick<MachineRecord, 'name' | 'group'> {
  readonly disks: readonly Omit<DiskRecord, keyof DiskFacts>[];
  /** A Linux in QEMU, and no process. */
  readonly isQemu: boolean;
}

/** The power state after an event of compute. Events that are absent do not change it. */
const stateAfter: Partial<Record<ReadVmEvent['type'], PowerRecord['state']>> = {
  VmCreated: 'starting',
  VmStarting: 'starting',
  VmStarted: 'running',
  VmStartFailed: 'start-failed',
  VmStopping: 'stopping',
  VmStopped: 'stopped',
  VmDeallocating: 'stopping',
  VmDeallocated: 'deallocated',
  VmDeleted: 'deleted',
};

const isOpen = ({ outcome }: StartRecord): boolean => outcome === 'in-progress';

interface Log {
  readonly power: PowerRecord[];
  readonly starts: StartRecord[];
  readonly placements: PlacementRecord[];
}

/** The history of an estate's machines, from the events of compute. */
export class MachineLog {
  readonly #logs = new Map<string, Log>();

  /** Applies an event of compute, in the order of its feed. */
  apply(recorded: RecordedEvent): void {
    const { stream, time: atMs, cause } = recorded;
    if (!stream.startsWith('vm-')) return;
    const event = readEvent<ReadVmEvent>(recorded);
    const name = stream.slice('vm-'.length);
    const log = this.#logs.get(name) ?? { power: [], starts: [], placements: [] };
    if (event.type === 'VmPlaced') {
      const vmHost = event.host.slice('vmHosts/'.length);
      log.placements.push({ atMs, vmHost, number: event.number });
    }
    const state = stateAfter[event.type];
    if (state === undefined) return;
    this.#logs.set(name, log);
    const traceId = traceIdOf(cause.traceparent) ?? '';
    log.power.push({ atMs, state, ...reasonOf(event, traceId), ...endOf(event) });
    noteStart(log.starts, event, atMs);
  }

  /** Power, starts and placements of a machine, by its full name. */
  of(name: string): Pick<MachineRecord, 'power' | 'starts' | 'placements'> {
    const { power = [], starts = [], placements = [] } = this.#logs.get(name) ?? {};
    return {
      power: [...power],
      starts: [...starts],
      ...(placements.length === 0 ? {} : { placements: [...placements] }),
    };
  }

  /** Forgets what was before a time, in milliseconds since the epoch; of each machine the state at that time is kept. */
  forget(beforeMs: number): void {
    for (const [name, { power, starts }] of this.#logs) {
      const at = power.findLastIndex(({ atMs }) => atMs < beforeMs);
      if (at <= 0 && power[at]?.state !== 'deleted') continue;
      const isGone = at === power.length - 1 && power[at]?.state === 'deleted';
      if (isGone) this.#logs.delete(name);
      else {
        power.splice(0, at);
        starts.splice(0, starts.length, ...starts.filter((start) => isOpen(start) || start.requestedMs >= beforeMs));
      }
    }
  }

  /**
   * @param facts of each disk, by its full name
   * @param console last lines of the serial console of a machine
   */
  records(
    machines: readonly KnownMachine[],
    facts: ReadonlyMap<string, DiskFacts>,
    console: (machine: string) => readonly string[] = () => [],
  ): readonly MachineRecord[] {
    return machines.map(({ name, group, disks, isQemu }) => {
      const withFacts = (disk: (typeof disks)[number]): DiskRecord => ({
        ...disk,
        ...(facts.get(disk.name) ?? { keyVersion: '' }),
      });
      return {
        ...{ name, group, disks: disks.map(withFacts), ...this.of(name) },
        ...(isQemu ? { console: console(name) } : {}),
      };
    });
  }
}

/** What a stop says about the host of the machine. */
const endOf = (event: ReadVmEvent): Pick<PowerRecord, 'end' | 'isFenced'> => {
  if (event.type === 'VmStopped') return event.isFenced === true ? { isFenced: true } : {};
  return event.type === 'VmStopping' && event.end !== undefined ? { end: event.end } : {};
};

/** The loss that an event names, and the trace of its cause. */
const reasonOf = (event: ReadVmEvent, traceId: string): Pick<PowerRecord, 'reason' | 'traceId'> => {
  if (event.type === 'VmStartFailed') return { reason: event.failure.code, traceId };
  const loss = event.type === 'VmStopping' || event.type === 'VmStopped' ? event.reason : undefined;
  return { reason: loss?.reason ?? '', traceId: loss?.traceId || traceId };
};

const noteStart = (starts: StartRecord[], event: ReadVmEvent, atMs: number): void => {
  if (event.type === 'VmCreated' || event.type === 'VmStarting') {
    starts.push({ requestedMs: atMs, outcome: 'in-progress', reason: '' });
    return;
  }
  const last = starts.at(-1);
  if (last === undefined || !isOpen(last)) return;
  const end = (outcome: 'running' | 'failed', reason: string): void => {
    starts[starts.length - 1] = { ...last, outcome, endedMs: atMs, reason };
  };
  if (event.type === 'VmStarted') end('running', '');
  else if (event.type === 'VmStartFailed') end('failed', event.failure.code);
  // A loss or a user ended the start before the machine was up.
  else if (event.type === 'VmStopping') end('failed', event.reason?.reason ?? event.preempted?.code ?? 'STOPPED');
};
