import type { InProcessCloud, Replica } from '@interlock/host';
import type { MemoryBus } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import type { VirtualClock } from '@interlock/runtime';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/storage/volume-files.ts';
import type { SimulatedHost } from '../cloud/disk-hosts.ts';
import { type Cuts, nameOf, type Part, replicasOf } from '../cloud/parts.ts';
import type { Processes } from '../cloud/processes.ts';
import type { SimulatedVmHost } from '../cloud/vm-hosts.ts';
import type { HeaderSlots } from '../truth/headers.ts';
import type { CopyPace } from './copy-pace.ts';
import type { FaultRates } from './fault-rates.ts';
import { noCallFaults, noStoreFaults, noVolumeFaults } from './fault-rates.ts';
import type { Throttling } from './network.ts';

export interface FaultParts {
  readonly clock: VirtualClock;
  readonly cloud: InProcessCloud;
  readonly processes: Processes;
  readonly rates: FaultRates;
  readonly cuts: Cuts;
  readonly slow: Map<Part, number>;
  readonly throttled: Map<Part, Throttling>;
  readonly bus: MemoryBus;
  readonly subjectsOf: (service: Workload) => readonly string[];
  readonly services: readonly Workload[];
  /** Loses what the process had in memory besides its own state: the page cache of the volumes of a disk host. */
  readonly loseMemory: (replica: Replica) => void;
  readonly diskHosts: readonly SimulatedHost[];
  readonly volumesOf: (host: string) => Pick<MemoryVolumeFiles, 'poke'>;
  readonly copies: Pick<CopyPace, 'dawdle' | 'hurry'>;
  readonly log: (line: string) => void;
}

/** How long a supervisor waits before it tries again to start a process, in milliseconds. */
const RESTART_MS = 500;

/** Faults on command. Each is logged, may be repeated, and is ended by `healAll`. */
export class FaultControl {
  readonly #parts: FaultParts;
  readonly #kinds = new Set<string>();
  readonly #down = new Map<string, Replica>();
  readonly #paused = new Map<string, Replica>();

  constructor(parts: FaultParts) {
    this.#parts = parts;
  }

  /** Faults by chance: numbers to be changed. */
  get rates(): FaultRates {
    return this.#parts.rates;
  }

  /** The kinds of fault so far, by name. */
  kinds(): ReadonlySet<string> {
    return this.#kinds;
  }

  /** Makes some copies slow from now on. Not a fault itself, but faults meet slow copies. */
  slowCopies(): void {
    this.#parts.copies.dawdle();
  }

  /** Cuts the two parts off from each other. */
  partition(a: Part, b: Part): void {
    if (this.#parts.cuts.isCut(a, b)) return;
    this.#strike('partition', `${a} and ${b} do not reach each other`);
    this.#parts.cuts.cut(a, b);
  }

  heal(a: Part, b: Part): void {
    const { cuts, log } = this.#parts;
    if (!cuts.isCut(a, b)) return;
    cuts.heal(a, b);
    this.#reconnect(a, b);
    log(`healed: ${a} and ${b} reach each other`);
  }

  /** Ends a process as `kill -9` does: its memory is lost, and for disk also sectors that were not flushed. */
  crash(service: Workload, replica = 0, what = ''): void {
    const { cloud, processes, loseMemory } = this.#parts;
    const self = { service, replica };
    if (!cloud.running(service).includes(replica)) return;
    this.#strike('crash', `${nameOf(self)}${what}`);
    this.#paused.delete(nameOf(self));
    this.#down.set(nameOf(self), self);
    processes.kill(self);
    cloud.crash(service, replica);
    loseMemory(self);
  }

  /** Ends a process and its machine: it starts again on another machine. */
  loseMachine(service: Workload, replica = 0): void {
    this.#parts.processes.moveOn({ service, replica });
    this.crash(service, replica, ' with its machine');
  }

  /** Ends a VM host, its guests and what it stored, as with its machine. @param comesBack whether `healAll` starts it again, empty */
  loseVmHost(host: SimulatedVmHost, comesBack: boolean): void {
    const { name, replica: self } = host;
    const isRunning = this.#parts.cloud.running(self.service).includes(self.replica);
    if (isRunning) this.crash(self.service, self.replica, ' with its machine and its guests');
    else this.#parts.log(`fault crash: the machine of ${name} is lost with its guests`);
    host.loseMachine(comesBack);
    if (!comesBack) this.#down.delete(nameOf(self));
  }

  /** Starts a process as a supervisor does: tries until it serves. @returns whether it started; false if it ran already */
  async restart(service: Workload, replica = 0): Promise<boolean> {
    const { cloud, clock, processes, log } = this.#parts;
    const self = { service, replica };
    const isRunning = (): boolean => cloud.running(service).includes(replica);
    if (isRunning()) return false;
    for (let tries = 1; ; tries += 1) {
      try {
        await cloud.start(service, replica);
        // Otherwise another fault is starting it.
        if (isRunning()) {
          this.#down.delete(nameOf(self));
          log(`started: ${nameOf(self)}${tries === 1 ? '' : `, at the ${tries}th try`}`);
          return true;
        }
      } catch (error) {
        log(`not started: ${nameOf(self)}: ${error instanceof Error ? error.message : String(error)}`);
        processes.kill(self);
      }
      await clock.sleep(RESTART_MS);
      if (isRunning()) return false;
    }
  }

  /** Starts a process that may be refused. @returns why it did not start; undefined if it serves */
  async startOnce(service: Workload, replica = 0): Promise<string | undefined> {
    const { cloud, processes, log } = this.#parts;
    try {
      await cloud.start(service, replica);
      return undefined;
    } catch (error) {
      processes.kill({ service, replica });
      const why = error instanceof Error ? error.message : String(error);
      log(`not started: ${nameOf({ service, replica })}: ${why}`);
      return why;
    }
  }

  /** Stops all code of a process (SIGSTOP) for this time. Time and the other processes continue. */
  pause(service: Workload, durationMs: number, replica = 0): void {
    const { clock, processes } = this.#parts;
    const self = { service, replica };
    const gate = processes.gateOf(self);
    if (!gate?.isOpen()) return;
    this.#strike('pause', `${nameOf(self)} for ${Math.round(durationMs)} ms`);
    gate.shut();
    this.#paused.set(nameOf(self), self);
    clock.alarm(durationMs, () => {
      // Not a later pause, nor that of a later process.
      if (this.#paused.get(nameOf(self)) === self) this.#resume(self);
    });
  }

  /** Ends a pause before its time. */
  resume(service: Workload, replica = 0): void {
    this.#resume({ service, replica });
  }

  /** The bus loses the newest messages of a service although it acknowledged them, and every client reconnects. */
  forgetMessages(service: Workload, count: number): number {
    const { bus, subjectsOf } = this.#parts;
    const forgotten = subjectsOf(service).reduce((sum, subject) => sum + bus.forget(subject, count), 0);
    if (forgotten === 0) return 0;
    this.#strike('forgotten messages', `the bus forgets ${forgotten} of ${service}`);
    bus.disconnect();
    bus.reconnect();
    return forgotten;
  }

  /** Makes storage return other sectors than were written: puts these into both slots of a volume's header. */
  replaceHeader(
    { host, volumeId }: { readonly host: string; readonly volumeId: string },
    slots: HeaderSlots,
    what: string,
  ): void {
    this.#strike('header', `${what} in ${volumeId}`);
    for (const [slot, bytes] of slots.entries()) this.#parts.volumesOf(host).poke(volumeId, 'header', slot, bytes);
  }

  /** Delays every request to the service by this time; 0 ends it. */
  slow(service: Exclude<Part, 'bus' | 'store' | 'outside'>, delayMs: number): void {
    const { slow, log } = this.#parts;
    if (delayMs > 0) {
      this.#strike('slow', `requests to ${service} wait ${Math.round(delayMs)} ms`);
      slow.set(service, delayMs);
    } else if (slow.delete(service)) log(`healed: ${service} is fast again`);
  }

  /** The service refuses calls with a rate limit; undefined ends it. @param about only requests that name this; by default all */
  throttle(service: Workload, retryAfterMs: number | undefined, about = ''): void {
    const { throttled, log } = this.#parts;
    const limits = new Map(throttled.get(service));
    if (retryAfterMs !== undefined) {
      this.#strike('throttling', `${service} refuses calls for their number`);
      limits.set(about, retryAfterMs);
    } else if (limits.delete(about)) log(`healed: ${service} takes calls again`);
    if (limits.size > 0) throttled.set(service, limits);
    else throttled.delete(service);
  }

  /** Sets the wall clocks of a service's machines that far from the true time. @param only the clock of this replica */
  jumpClock(service: Workload, offsetMs: number, only?: number): void {
    const whose = only === undefined ? service : nameOf({ service, replica: only });
    this.#strike('clock jump', `the clock of ${whose} is ${Math.round(offsetMs)} ms off`);
    for (const replica of only === undefined ? this.#replicas() : [only])
      this.#parts.processes.skewOf({ service, replica }).offsetMs = offsetMs;
  }

  /** Makes the clock of a process drift by this many microseconds a second. */
  driftClock(service: Workload, ppm: number, replica = 0): void {
    const self = { service, replica };
    this.#strike('clock drift', `the clock of ${nameOf(self)} gains ${Math.round(ppm)} µs a second`);
    this.#parts.processes.skewOf(self).driftPpm = ppm;
  }

  /** Ends every fault and starts every process that does not run. */
  async healAll(): Promise<void> {
    const { log, rates, copies, slow, throttled, cuts, services, processes, diskHosts } = this.#parts;
    log('healing: every fault ends');
    Object.assign(rates.calls, noCallFaults());
    Object.assign(rates.stores, noStoreFaults());
    for (const host of diskHosts) Object.assign(host.rates, noVolumeFaults());
    copies.hurry();
    Object.assign(rates.bus, { loseAfterAck: 0, loseAck: 0, duplicate: 0, delay: 0, reorder: 0 });
    slow.clear();
    throttled.clear();
    for (const [a, b] of cuts.all()) this.heal(a, b);
    for (const replica of [...this.#paused.values()]) this.#resume(replica);
    for (const service of services) {
      for (const replica of this.#replicas())
        Object.assign(processes.skewOf({ service, replica }), { offsetMs: 0, driftPpm: 0 });
    }
    for (const { service, replica } of [...this.#down.values()]) await this.restart(service, replica);
  }

  /** Processes that a service may have at the same time: two, or a control process of disk and its disk hosts. */
  #replicas(): readonly number[] {
    return Array.from({ length: Math.max(2, this.#parts.diskHosts.length + 1) }, (_, replica) => replica);
  }

  #strike(kind: string, line: string): void {
    this.#kinds.add(kind);
    this.#parts.log(`fault ${kind}: ${line}`);
  }

  /** A connection that was cut is a new session of the bus afterwards. */
  #reconnect(a: Part, b: Part): void {
    const { cloud, processes } = this.#parts;
    const part = a === 'bus' ? b : b === 'bus' ? a : undefined;
    if (part === undefined) return;
    for (const replica of replicasOf(part, cloud.running)) processes.interruptBus(replica);
  }

  #resume(replica: Replica): void {
    if (!this.#paused.delete(nameOf(replica))) return;
    this.#parts.processes.gateOf(replica)?.open();
    this.#parts.log(`resumed: ${nameOf(replica)}`);
  }
}
