import { workloads } from '@interlock/host';
import {
  type CloudPart,
  type Experiment,
  type FaultAction,
  type FaultTarget,
  isDiskHostTarget,
  isVmHostTarget,
  type Problem,
  type Step,
} from '@interlock/lab';
import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Disturbance } from '@interlock/lab/judge/recording/replay';
import type { SimulatedHost } from '../../simulation/cloud/disk-hosts.ts';
import type { Part } from '../../simulation/cloud/parts.ts';
import type { SimulatedCloud } from '../../simulation/index.ts';
import type { Stage } from '../../simulation/workload/stage.ts';
import { type FaultedProcess, placeOf, processOf } from './fault-places.ts';

/** What faults need. */
export interface FaultParts {
  readonly world: SimulatedCloud;
  readonly truth: Stage['truth'];
  readonly disturbances: Stage['disturbances'];
  /** Called for each part whose process ends. */
  readonly onGone: (target: FaultTarget) => void;
}

/** How long a restart of a service's process takes, in milliseconds: as long as in a local cloud. */
const restartMs = 1_000;

/** The parts that each action can affect in the simulation. */
export const faultParts: Readonly<Record<FaultAction | 'throttle', readonly CloudPart[]>> = {
  kill: [...workloads, 'nats', 'postgres'],
  restart: [...workloads, 'nats', 'postgres'],
  pause: [...workloads, 'nats', 'postgres'],
  slow: workloads,
  cut: [...workloads, 'nats', 'postgres'],
  'shift-clock': workloads,
  'slow-storage': ['disk', 'postgres'],
  'fill-storage': ['disk', 'postgres'],
  'fail-storage': ['disk', 'postgres'],
  throttle: ['key-vault'],
};

/** Most disk hosts of a simulated cloud. */
const diskHostsMax = 4;

/** What can happen to a VM host here. Its clock decides nothing, and its storage is in memory. */
const vmHostFaults: ReadonlySet<string> = new Set(['kill', 'restart', 'pause', 'slow', 'cut']);

/** Whether the action can affect a target: a disk host as the process of disk. */
const canDo = (action: FaultAction, target: string): boolean =>
  isVmHostTarget(target)
    ? vmHostFaults.has(action)
    : (faultParts[action] as readonly string[]).includes(isDiskHostTarget(target) ? 'disk' : target);

/** Whether the action is a fault of the cloud. */
export const isFault = (action: string): action is FaultAction | 'throttle' => Object.hasOwn(faultParts, action);

/** The faults of an experiment that the simulation cannot inject. */
export const faultProblems = ({ timeline, estate }: Pick<Experiment, 'timeline' | 'estate'>): readonly Problem[] => [
  ...tooManyHosts(estate),
  ...timeline.flatMap(({ action, targets, line, options }) => {
    if (!isFault(action) || action === 'throttle') return [];
    if (options.clock === 'boot')
      return [{ line, message: 'no machine of the simulation is suspended', cure: 'Use --target local.' }];
    const wrong = targets.find((target) => !canDo(action, target));
    if (wrong !== undefined) {
      const message = `the simulation cannot do ${action} to ${wrong}`;
      return [{ line, message, cure: `target one of ${faultParts[action].join(', ')}, or run it on another target` }];
    }
    return action === 'cut' && targets.every((one) => one === 'nats' || one === 'postgres')
      ? [{ line, message: 'nats and postgres do not call each other', cure: 'cut a service from one of them' }]
      : [];
  }),
];

const tooManyHosts = (estate: Experiment['estate']): readonly Problem[] =>
  estate.kind !== 'planned' || (estate.diskHosts ?? 0) <= diskHostsMax
    ? []
    : [
        {
          line: estate.groups[0]?.line ?? 1,
          message: `the estate has ${estate.diskHosts} disk hosts, and a simulated cloud has at most ${diskHostsMax}`,
          cure: `Write diskHosts: ${diskHostsMax}, or use --target local.`,
        },
      ];

/** A fault that lasts. */
interface Lasting {
  /** Ends it. */
  heal(): void | Promise<void>;
}

/** Faults of the parts of a simulated cloud, and the disturbances that they cause, for the judges. */
export class Faults {
  /** For the oracle. Milliseconds since the epoch. */
  readonly disturbed: Disturbance[] = [];
  readonly #parts: FaultParts;
  /** By the name of the step. */
  readonly #lasting = new Map<string, Lasting>();
  readonly #down = new Set<FaultTarget>();
  /** How many active faults separate two parts, by their names. */
  readonly #cuts = new Map<string, number>();

  constructor(parts: FaultParts) {
    this.#parts = parts;
  }

  /** Whether a process was ended and not started again. */
  isDown(target: FaultTarget): boolean {
    return this.#down.has(target);
  }

  /** Whether a fault separates two parts. */
  isCut(a: Part, b: Part): boolean {
    return (this.#cuts.get(pairOf(a, b)) ?? 0) > 0;
  }

  /**
   * Carries out a step.
   * @param targets of the step, each disk host by its number
   * @param vaults those that `throttle` affects, by name
   * @returns when it took effect, in milliseconds since the epoch
   */
  async carryOut(
    { name, action, options }: Step,
    targets: readonly string[],
    vaults: readonly string[] = [],
  ): Promise<number> {
    if (!isFault(action)) throw new Error(`${action} is no fault`);
    const effectMs = this.#parts.world.clock.now();
    const parts = action === 'throttle' ? ['key-vault' as const] : (targets as readonly FaultTarget[]);
    const byMs = Number(options.by ?? 0);
    if (action === 'restart') {
      for (const part of parts) await this.#restart(part);
    } else if (action === 'cut') {
      const [a, b] = parts;
      if (a === undefined || b === undefined) throw new Error(`${name} needs two parts to cut`);
      this.#lasting.set(name, this.#cut(a, b));
    } else {
      const all =
        action === 'throttle'
          ? vaults.map((vault) => this.#throttle(vault))
          : parts.map((part) => this.#strike(action, part, byMs));
      this.#lasting.set(name, {
        heal: async () => {
          for (const { heal } of all) await heal();
        },
      });
    }
    return effectMs;
  }

  /** Ends the fault of a step; does nothing if it has ended. */
  async undo(step: string): Promise<void> {
    const found = this.#lasting.get(step);
    this.#lasting.delete(step);
    await found?.heal();
  }

  #strike(action: Exclude<FaultAction, 'restart' | 'cut'>, target: FaultTarget, byMs: number): Lasting {
    switch (action) {
      case 'kill':
        return this.#kill(target);
      case 'pause':
        return this.#pause(target);
      case 'slow':
        return this.#slow(processOf(this.#parts.world, target), byMs);
      case 'shift-clock':
        return this.#shiftClock(processOf(this.#parts.world, target), byMs);
      case 'slow-storage':
        return this.#slowStorage(target, byMs);
      case 'fill-storage':
        return this.#storage(target, 'full');
      case 'fail-storage':
        return this.#storage(target, 'fail');
    }
  }

  /** Notes a disturbance. @returns a function that ends it; its argument is what was replaced with its memory */
  #disturb(...parts: readonly Disturbed[]): (restarted?: readonly Disturbed[]) => void {
    const { world, disturbances } = this.#parts;
    const end = disturbances.begin(...parts);
    const n = this.disturbed.push({ parts, fromMs: world.clock.now() }) - 1;
    return (restarted = []) => {
      disturbances.noteStart(...restarted);
      end();
      const begun = this.disturbed[n];
      if (begun === undefined) return;
      const toMs = world.clock.now();
      const [first] = restarted;
      this.disturbed[n] = { ...begun, toMs, ...(first === undefined ? {} : { restarted: first }) };
    };
  }

  #kill(target: FaultTarget): Lasting {
    const { world, truth, onGone } = this.#parts;
    onGone(target);
    this.#down.add(target);
    if (target === 'nats' || target === 'postgres') {
      const { heal } = this.#isolate(target);
      return {
        heal: async () => {
          this.#down.delete(target);
          await heal();
        },
      };
    }
    const { service, replica, disturbed, host } = processOf(this.#parts.world, target);
    world.faults.crash(service, replica);
    if (host !== undefined)
      for (const [disk, content] of truth.contents) if (truth.disks.hostOf(disk) === host.name) content.crash();
    const end = this.#disturb(...disturbed);
    return {
      heal: async () => {
        await world.faults.restart(service, replica);
        this.#down.delete(target);
        end(disturbed);
      },
    };
  }

  async #restart(target: FaultTarget): Promise<void> {
    const { heal } = this.#kill(target);
    await this.#parts.world.clock.sleep(restartMs);
    await heal();
  }

  #pause(target: FaultTarget): Lasting {
    if (target === 'nats' || target === 'postgres') return this.#isolate(target);
    const { world } = this.#parts;
    const { service, replica, disturbed } = processOf(this.#parts.world, target);
    world.faults.pause(service, Number.POSITIVE_INFINITY, replica);
    const end = this.#disturb(...disturbed);
    return {
      heal: () => {
        world.faults.resume(service, replica);
        end();
      },
    };
  }

  /** No process reaches the server. Its clients connect again afterwards. */
  #isolate(target: 'nats' | 'postgres'): Lasting {
    const { world } = this.#parts;
    const { part: server, disturbed } = placeOf(this.#parts.world, target);
    const clients = [...workloads, ...(world.hasControl ? world.diskHosts.map(({ part }) => part) : [])];
    const heals = clients.map((client) => this.#part(client, server));
    const end = this.#disturb(...disturbed);
    return {
      heal: () => {
        for (const heal of heals) heal();
        end();
      },
    };
  }

  /** What is disturbed if only one host does not reach something is that host. */
  #cut(one: FaultTarget, other: FaultTarget): Lasting {
    const [a, b] = [placeOf(this.#parts.world, one), placeOf(this.#parts.world, other)];
    const heal = this.#part(a.part, b.part);
    const hosts = [one, other]
      .filter((target) => isDiskHostTarget(target) || isVmHostTarget(target))
      .flatMap((target) => processOf(this.#parts.world, target).disturbed);
    const end = this.#disturb(...(hosts.length > 0 ? hosts : [...a.disturbed, ...b.disturbed]));
    return {
      heal: () => {
        heal();
        end();
      },
    };
  }

  /** Separates two parts. @returns a function that ends it; they reach each other when no other fault separates them */
  #part(a: Part, b: Part): () => void {
    const { faults } = this.#parts.world;
    const pair = pairOf(a, b);
    const count = (by: number): number => {
      const now = (this.#cuts.get(pair) ?? 0) + by;
      this.#cuts.set(pair, now);
      return now;
    };
    count(1);
    faults.partition(a, b);
    return () => {
      if (count(-1) === 0) faults.heal(a, b);
    };
  }

  #slow({ part, disturbed }: FaultedProcess, byMs: number): Lasting {
    const { world } = this.#parts;
    world.faults.slow(part, byMs);
    const end = this.#disturb(...disturbed, 'calls');
    return {
      heal: () => {
        world.faults.slow(part, 0);
        end();
      },
    };
  }

  /** Dates of keys refer to the clock of key-vault, so its shift changes what is true. */
  #shiftClock({ service, replica, disturbed }: FaultedProcess, byMs: number): Lasting {
    const { world, truth } = this.#parts;
    const only = service === 'disk' && world.hasControl ? replica : undefined;
    const set = (ms: number): void =>
      service === 'key-vault'
        ? truth.losses.setClock(() => world.faults.jumpClock(service, ms))
        : world.faults.jumpClock(service, ms, only);
    set(byMs);
    const end = this.#disturb(...disturbed);
    return {
      heal: () => {
        set(0);
        end();
      },
    };
  }

  /** Each operation is up to this much late, before and after it takes effect. */
  #slowStorage(target: FaultTarget, byMs: number): Lasting {
    const { rates, part } = this.#storageOf(target);
    const { delay, delayMs } = rates;
    Object.assign(rates, { delay: 1, delayMs: byMs });
    const end = this.#disturb(part);
    return {
      heal: () => {
        Object.assign(rates, { delay, delayMs });
        end();
      },
    };
  }

  #storageOf(target: FaultTarget): { readonly rates: { delay: number; delayMs: number }; readonly part: Disturbed } {
    const { rates } = this.#parts.world.faults;
    if (target === 'postgres') return { rates: rates.stores, part: 'store' };
    return { rates: this.#volumesOf(target).rates, part: 'volumes' };
  }

  #volumesOf(target: FaultTarget): SimulatedHost {
    const { host } = processOf(this.#parts.world, target);
    if (host === undefined) throw new Error(`${target} has no volumes: name a disk host`);
    return host;
  }

  #storage(target: FaultTarget, how: 'full' | 'fail'): Lasting {
    const share = how === 'full' ? 1 : failingShare;
    if (target === 'postgres') {
      const { stores } = this.#parts.world.faults.rates;
      stores.refuse = share;
      const end = this.#disturb('store');
      return {
        heal: () => {
          stores.refuse = 0;
          end();
        },
      };
    }
    const { rates } = this.#volumesOf(target);
    rates[how] = share;
    const end = this.#disturb('volumes');
    return {
      heal: () => {
        rates[how] = 0;
        end();
      },
    };
  }

  /** The vault refuses all uses and checks of its keys as throttled. */
  #throttle(vault: string): Lasting {
    const { world } = this.#parts;
    const about = `${vault}/`;
    world.faults.throttle('key-vault', throttledMs, about);
    const end = this.#disturb('key-vault', 'calls');
    return {
      heal: () => {
        world.faults.throttle('key-vault', undefined, about);
        end();
      },
    };
  }
}

const pairOf = (a: Part, b: Part): string => [a, b].toSorted().join('|');

/** Share of writes that failing storage refuses. */
const failingShare = 0.5;
/** When a throttled caller may retry, in milliseconds. */
const throttledMs = 1_000;
