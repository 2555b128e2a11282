import type { InProcessCloud, Replica } from '@interlock/host';
import type { MemoryBus } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import type { VirtualClock } from '@interlock/runtime';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/volume/volume-files.ts';
import { type Cuts, nameOf, type Part } from '../cloud/parts.ts';
import type { Processes } from '../cloud/processes.ts';
import type { HeaderSlots } from '../truth/headers.ts';
import type { CopyPace } from './copy-pace.ts';
import type { FaultRates } from './fault-rates.ts';
import { noCallFaults, noStoreFaults, noVolumeFaults } from './fault-rates.ts';

/** Faults on command. Each says in the log what it does; each may be repeated and is healed by `healAll`. */
export interface FaultControl {
  /** Faults by chance: numbers to be changed. */
  readonly rates: FaultRates;
  /** The two no longer reach each other. */
  partition(a: Part, b: Part): void;
  heal(a: Part, b: Part): void;
  /** Ends a process as `kill -9` does: what it had in memory is gone, and for disk also sectors that were not flushed. */
  crash(service: Workload, replica?: number): void;
  /** Ends a process with the machine it runs on: it is started on another one. */
  loseMachine(service: Workload, replica?: number): void;
  /** Starts it again (or for the first time), as a supervisor does: again and again until it comes up. */
  restart(service: Workload, replica?: number): Promise<void>;
  /** Stops all code of a process (SIGSTOP) for that long; time and the rest of the world go on. */
  pause(service: Workload, durationMs: number, replica?: number): void;
  /** The bus forgets the newest messages of a service although it acknowledged them, and everybody reconnects. */
  forgetMessages(service: Workload, count: number): number;
  /** Every request to the service waits so long before it is carried out; 0 ends it. */
  slow(service: Workload, delayMs: number): void;
  /** The service refuses every call with a rate limit; undefined ends it. */
  throttle(service: Workload, retryAfterMs: number | undefined): void;
  /** Sets the wall clocks of a service's machines that far from the true time. */
  jumpClock(service: Workload, offsetMs: number): void;
  /** Makes a service's clock go wrong by so many microseconds a second. */
  driftClock(service: Workload, ppm: number): void;
  /** Storage returns other sectors than were written: puts these into the header of a volume, both slots. */
  replaceHeader(volumeId: string, slots: HeaderSlots, what: string): void;
  /** Some copies take long from now on. No kind of fault by itself: it is what others meet. */
  slowCopies(): void;
  /** Which kinds of fault have struck so far, by name. */
  kinds(): ReadonlySet<string>;
  /** Ends every fault and starts what does not run. Afterwards nothing goes wrong any more. */
  healAll(): Promise<void>;
}

export interface FaultParts {
  readonly clock: VirtualClock;
  readonly cloud: InProcessCloud;
  readonly processes: Processes;
  readonly rates: FaultRates;
  readonly cuts: Cuts;
  readonly slow: Map<Part, number>;
  readonly throttled: Map<Part, number>;
  readonly bus: MemoryBus;
  readonly subjectsOf: (service: Workload) => readonly string[];
  readonly services: readonly Workload[];
  /** Cuts the power of the volumes. */
  readonly crashVolumes: () => void;
  readonly volumes: Pick<MemoryVolumeFiles, 'poke'>;
  readonly copies: Pick<CopyPace, 'dawdle' | 'hurry'>;
  readonly log: (line: string) => void;
}

/** Processes a service may have at once. */
const REPLICAS = [0, 1] as const;
/** A supervisor waits so long before it starts a process again that did not come up. */
const RESTART_MS = 500;

export const createFaultControl = (world: FaultParts): FaultControl => {
  const { clock, cloud, processes, rates, cuts, slow, throttled, bus, log } = world;
  const kinds = new Set<string>();
  const down = new Map<string, Replica>();
  const paused = new Map<string, Replica>();

  const strike = (kind: string, line: string): void => {
    kinds.add(kind);
    log(`fault ${kind}: ${line}`);
  };
  /** A connection that was cut is a new session of the bus afterwards. */
  const reconnect = (a: Part, b: Part): void => {
    const service = a === 'bus' ? b : b === 'bus' ? a : undefined;
    if (service === undefined || service === 'store' || service === 'outside' || service === 'bus') return;
    for (const replica of [0, ...cloud.running(service)]) processes.interruptBus({ service, replica });
  };
  const heal = (a: Part, b: Part): void => {
    if (!cuts.isCut(a, b)) return;
    cuts.heal(a, b);
    reconnect(a, b);
    log(`healed: ${a} and ${b} reach each other`);
  };
  const resume = (replica: Replica): void => {
    if (!paused.delete(nameOf(replica))) return;
    processes.gateOf(replica)?.open();
    log(`resumed: ${nameOf(replica)}`);
  };
  const restart = async (service: Workload, replica = 0): Promise<void> => {
    const self = { service, replica };
    if (cloud.running(service).includes(replica)) return;
    for (let tries = 1; ; tries += 1) {
      try {
        await cloud.start(service, replica);
        down.delete(nameOf(self));
        log(`started: ${nameOf(self)}${tries === 1 ? '' : `, at the ${tries}th try`}`);
        return;
      } catch (error) {
        log(`not started: ${nameOf(self)}: ${error instanceof Error ? error.message : String(error)}`);
        processes.kill(self);
        await clock.sleep(RESTART_MS);
      }
    }
  };

  const crash = (service: Workload, replica = 0, what = ''): void => {
    const self = { service, replica };
    if (!cloud.running(service).includes(replica)) return;
    strike('crash', `${nameOf(self)}${what}`);
    paused.delete(nameOf(self));
    down.set(nameOf(self), self);
    processes.kill(self);
    cloud.crash(service, replica);
    if (service === 'disk') world.crashVolumes();
  };

  return {
    rates,
    slowCopies: world.copies.dawdle,
    kinds: () => kinds,
    partition(a, b) {
      if (cuts.isCut(a, b)) return;
      strike('partition', `${a} and ${b} do not reach each other`);
      cuts.cut(a, b);
    },
    heal,
    crash: (service, replica) => crash(service, replica),
    loseMachine(service, replica = 0) {
      processes.moveOn({ service, replica });
      crash(service, replica, ' with its machine');
    },
    restart,
    pause(service, durationMs, replica = 0) {
      const self = { service, replica };
      const gate = processes.gateOf(self);
      if (!gate?.isOpen()) return;
      strike('pause', `${nameOf(self)} for ${Math.round(durationMs)} ms`);
      gate.shut();
      paused.set(nameOf(self), self);
      clock.alarm(durationMs, () => {
        if (processes.gateOf(self) === gate) resume(self);
      });
    },
    forgetMessages(service, count) {
      const forgotten = world.subjectsOf(service).reduce((sum, subject) => sum + bus.forget(subject, count), 0);
      if (forgotten === 0) return 0;
      strike('forgotten messages', `the bus forgets ${forgotten} of ${service}`);
      bus.disconnect();
      bus.reconnect();
      return forgotten;
    },
    replaceHeader(volumeId, slots, what) {
      strike('header', `${what} in ${volumeId}`);
      for (const [slot, bytes] of slots.entries()) world.volumes.poke(volumeId, 'header', slot, bytes);
    },
    slow(service, delayMs) {
      if (delayMs > 0) {
        strike('slow', `requests to ${service} wait ${Math.round(delayMs)} ms`);
        slow.set(service, delayMs);
      } else if (slow.delete(service)) log(`healed: ${service} is fast again`);
    },
    throttle(service, retryAfterMs) {
      if (retryAfterMs !== undefined) {
        strike('throttling', `${service} refuses calls for their number`);
        throttled.set(service, retryAfterMs);
      } else if (throttled.delete(service)) log(`healed: ${service} takes calls again`);
    },
    jumpClock(service, offsetMs) {
      strike('clock jump', `the clock of ${service} is ${Math.round(offsetMs)} ms off`);
      for (const replica of REPLICAS) processes.skewOf({ service, replica }).offsetMs = offsetMs;
    },
    driftClock(service, ppm) {
      strike('clock drift', `the clock of ${service} gains ${Math.round(ppm)} µs a second`);
      processes.skewOf({ service, replica: 0 }).driftPpm = ppm;
    },
    async healAll() {
      log('healing: every fault ends');
      Object.assign(rates.calls, noCallFaults());
      Object.assign(rates.stores, noStoreFaults());
      Object.assign(rates.volumes, noVolumeFaults());
      world.copies.hurry();
      Object.assign(rates.bus, { loseAfterAck: 0, loseAck: 0, duplicate: 0, delay: 0, reorder: 0 });
      slow.clear();
      throttled.clear();
      for (const [a, b] of cuts.all()) heal(a, b);
      for (const replica of [...paused.values()]) resume(replica);
      for (const service of world.services) {
        for (const replica of REPLICAS)
          Object.assign(processes.skewOf({ service, replica }), { offsetMs: 0, driftPpm: 0 });
      }
      for (const { service, replica } of [...down.values()]) await restart(service, replica);
    },
  };
};
