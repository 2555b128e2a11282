import { category, memoryStore, type StreamName } from '@interlock/event-store';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { at, disk, vm as firstVm, running } from '../vm/test-machine.ts';
import { vmHostApi } from './api.ts';
import { vmHostStreams } from './decider.ts';
import { Renewals } from './renewals.ts';
import { VmHostFleet } from './vm-hosts.ts';
import { VmHostWatch } from './watch.ts';

/** When the hosts of tests are unreachable, and when lost. */
export const terms = { ttlMs: 15_000, lostMs: 300_000 };

/** The cause of what a test stores. */
export const cause = { correlationId: 'c', causes: [], caller: 'system:test' };

/** A call of an operator. */
export const call = { cause, caller: { kind: 'user', id: 'o', name: 'principals/o', tenant: 't' } } as const;

/** The run of the process of each host, if a test does not name another. */
export const runOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

/** VM hosts and machines over a store in memory, in virtual time. */
export const openFleet = () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const store = memoryStore({ clock });
  const log = logger({ service: 'test', clock, write: () => {} });
  const vms = category(store, virtualMachines);
  const hosts = category(store, vmHostStreams);
  const renewals = new Renewals(store);
  const fleet = new VmHostFleet({ hosts, renewals, vms, clock, log, ttlMs: terms.ttlMs });
  const api = vmHostApi({ store, hosts, renewals, fleet, vms, clock, terms });
  const preempted: string[] = [];
  const engine = { preempt: (ids: readonly string[]) => void preempted.push(...ids) };
  const watch = new VmHostWatch({
    ...{ store, hosts, fleet, vms, engine, clock, random, log, lostMs: terms.lostMs, periodMs: 1_000 },
  });
  /** A renewal of `vm-host-<n>`. */
  const renew = (
    n: number,
    differing: { run?: string; isEmpty?: boolean; isLeaving?: boolean; guestCapacity?: number } = {},
  ) => {
    const own = {
      run: runOf(n),
      address: `vm-host-${n}:1`,
      zone: 'z1',
      guestCapacity: 10,
      isEmpty: false,
      isLeaving: false,
    };
    return api.renewVmHost({ name: `vmHosts/vm-host-${n}`, ...own, ...differing }, call);
  };
  /** Lets time pass while these hosts renew and each round of the watch is made. */
  const pass = async (durationMs: number, ...renewing: readonly number[]): Promise<void> => {
    for (let left = durationMs; left > 0; left -= 5_000) {
      await clock.pass(Math.min(left, 5_000));
      for (const n of renewing) await renew(n);
      await watch.round(new AbortController().signal);
    }
  };
  const machine = (name: string): string => firstVm.replace(/vm1$/, name);
  /** Stores a machine that runs at a host, and `then`. */
  const runAt = async (name: string, host: number, ...then: readonly VmEvent[]): Promise<string> => {
    const id = machine(name);
    const [creation, created, started] = running([disk(`${name}-os`, 0, 'PREMIUM_SSD')]);
    const placed = { type: 'VmPlaced', host: `vmHosts/vm-host-${host}`, number: 1, at } as const;
    for (const event of [creation, created, placed, started, ...then]) {
      if (event) await vms.transact(id, () => [event], cause);
    }
    return id;
  };
  const stateOf = async (id: string): Promise<string> => {
    const { state } = await vms.load(id);
    if (state.status !== 'active') return state.status;
    const { power } = state;
    const why = power.state === 'running' || power.cause.kind !== 'guestEnded' ? '' : ` ${power.cause.end}`;
    return `${power.state}${why}`;
  };
  const shown = (n: number) => api.getVmHost({ name: `vmHosts/vm-host-${n}` });
  const events = (stream: StreamName) => store.read(stream);
  return { clock, store, vms, hosts, fleet, api, watch, preempted, renew, pass, runAt, stateOf, shown, events };
};
