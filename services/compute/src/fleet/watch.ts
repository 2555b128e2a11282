import { type Category, type Cause, type Loaded, stepCauses } from '@interlock/event-store';
import { type Clock, failureLog, type Logger, type Random } from '@interlock/runtime';
import type { Engine } from '../processes/engine.ts';
import { keyStopWork, ownCause } from '../vm/causes.ts';
import type { VmEvent } from '../vm/events.ts';
import { type HostStop, hostDrained, hostLost } from '../vm/host-loss.ts';
import type { Vm } from '../vm/state.ts';
import { roomAt, vmHostName } from './choice.ts';
import { declareLost, type FleetVmHost } from './decider.ts';
import { finishDrain } from './draining.ts';
import type { VmHostEvent } from './events.ts';
import { machinesAt } from './machines.ts';
import { closeHost, type PlacementParts } from './placement.ts';
import type { KnownVmHost, VmHostFleet } from './vm-hosts.ts';

/** Machines that a draining host stops, and that start elsewhere, at one time. */
const movesMax = 4;

/** What the watch works with. */
export interface VmHostWatchParts extends PlacementParts {
  readonly hosts: Category<FleetVmHost, VmHostEvent>;
  readonly fleet: Pick<VmHostFleet, 'refresh' | 'list' | 'silentMs'>;
  readonly vms: Pick<Category<Vm, VmEvent>, 'list' | 'count' | 'transactMany'>;
  readonly engine: Pick<Engine, 'preempt'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** `VmHostTerms.lostMs`. */
  readonly lostMs: number;
  /** Time between two rounds, in milliseconds. */
  readonly periodMs: number;
}

/** The work partition of the watch: one replica keeps it. */
export const watchShare = 'vm-hosts/watch';

/**
 * Finds hosts that are lost, stops the machines of lost hosts, and empties hosts that are draining or whose process ends soon. There is no state besides that of the hosts
 * and machines: a round does what is left to do, whatever the rounds before it did.
 */
export class VmHostWatch {
  readonly #parts: VmHostWatchParts;

  constructor(parts: VmHostWatchParts) {
    this.#parts = parts;
  }

  /** Makes a round each `periodMs` until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, periodMs } = this.#parts;
    const rounds = failureLog({
      log,
      clock,
      failing: 'a round of the watch of VM hosts fails',
      back: 'it succeeds again',
    });
    while (!signal.aborted) {
      await this.round(signal).then(rounds.succeeded, rounds.failed);
      await clock.sleep(periodMs, signal);
    }
  }

  /** One round. @throws StoreUnavailable */
  async round(signal: AbortSignal): Promise<void> {
    const { fleet } = this.#parts;
    await fleet.refresh();
    const hosts = fleet.list();
    for (const host of hosts) {
      if (signal.aborted) return;
      if (host.status === 'lost') await this.#stopMachines(host);
      else if (this.#isLost(host, hosts)) await this.#noteLost(host);
      else if (host.status === 'draining' || (host.isLeaving && host.isServing)) await this.#drain(host, hosts);
    }
  }

  /**
   * A host that is drained needs no renewal. If no host renews, this side is more likely to be cut off than each of them to be lost, and
   * no machine could start elsewhere: then only an operator can say so.
   */
  #isLost({ name, status }: KnownVmHost, hosts: readonly KnownVmHost[]): boolean {
    const { fleet, lostMs } = this.#parts;
    if (status === 'drained' || !hosts.some(({ isServing }) => isServing)) return false;
    return (fleet.silentMs(name) ?? 0) >= lostMs;
  }

  async #noteLost(host: KnownVmHost): Promise<void> {
    const { clock, random, log } = this.#parts;
    const decide = declareLost(clock.now(), vmHostName(host.name), '');
    await closeHost(this.#parts, host.name, decide, ownCause(random), { timer: 'serving' });
    log.error('a VM host is lost: its machines stop', { vmHost: host.name, address: host.address });
    await this.#stopMachines(host);
  }

  async #stopMachines({ name }: KnownVmHost): Promise<void> {
    const { vms } = this.#parts;
    const cause = await this.#causeOf(name, 'lost');
    for await (const page of machinesAt(vms, name).pages()) await this.#stop(page, hostLost, name, cause);
  }

  /** Stops only as many at a time as `movesMax`, and as other hosts take. */
  async #drain(host: KnownVmHost, hosts: readonly KnownVmHost[]): Promise<void> {
    const { vms } = this.#parts;
    const cause = await this.#causeOf(host.name, host.status === 'draining' ? 'drain' : 'serving');
    const left: Loaded<Vm>[] = [];
    let underWay = 0;
    for await (const page of machinesAt(vms, host.name).pages()) {
      for (const machine of page) {
        if (isIdle(machine.state)) left.push(machine);
        else if (!isBlocked(machine.state)) underWay += 1;
      }
    }
    const moves = Math.max(0, Math.min(movesMax, roomAt(hosts)) - underWay);
    await this.#stop(left.slice(0, moves), hostDrained, host.name, cause);
    await finishDrain(this.#parts, host.name, cause);
  }

  async #stop(
    machines: readonly Loaded<Vm>[],
    decide: (stop: HostStop) => (vm: Vm) => readonly VmEvent[],
    name: string,
    cause: Cause,
  ): Promise<void> {
    const { vms, engine, clock, random } = this.#parts;
    const host = vmHostName(name);
    const decideOne = (vm: Vm): readonly VmEvent[] => {
      const work = { ...keyStopWork(cause, clock, random), kind: 'guestEnded' } as const;
      const startsAgain = { ...keyStopWork(cause, clock, random), kind: 'start' } as const;
      return decide({ host, work, startsAgain })(vm);
    };
    const { changed } = await vms.transactMany(machines, decideOne, cause, { onContention: 'reject' });
    engine.preempt(changed.flatMap(({ id, events }) => (events.length > 0 ? [id] : [])));
  }

  /** What the watch does with the machines of a host are steps of what was decided about the host. */
  async #causeOf(host: string, process: 'lost' | 'drain' | 'serving'): Promise<Cause> {
    const { hosts, random } = this.#parts;
    const { state } = await hosts.load(host);
    return { ...ownCause(random), causes: stepCauses(`${hosts.definition.name}-${host}`, state, process) };
  }
}

/** Whether a machine runs, with nothing under way. */
const isIdle = (vm: Vm): boolean =>
  vm.status === 'active' && vm.power.state === 'running' && vm.power.work === undefined && vm.blocked.length === 0;

/** Whether a machine runs whose next start would fail because of a lost key (CMK-102). */
const isBlocked = (vm: Vm): boolean => vm.status === 'active' && vm.power.state === 'running' && vm.blocked.length > 0;
