import { workloads } from '@interlock/host';
import type { CloudPart, Experiment, FaultAction, Problem, Step } from '@interlock/lab';
import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Disturbance } from '@interlock/lab/judge/recording/replay';
import type { Workload } from '@interlock/rpc';
import type { Part, SimulatedCloud } from '../../simulation/index.ts';
import type { Stage } from '../../simulation/workload/stage.ts';

/** What faults need. */
export interface FaultParts {
  readonly world: SimulatedCloud;
  readonly truth: Stage['truth'];
  readonly disturbances: Stage['disturbances'];
  /** Called for each part whose process ends. */
  readonly onGone: (part: CloudPart) => void;
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

/** Whether the action is a fault of the cloud. */
export const isFault = (action: string): action is FaultAction | 'throttle' => Object.hasOwn(faultParts, action);

/** The faults of an experiment that the simulation cannot inject. */
export const faultProblems = ({ timeline }: Pick<Experiment, 'timeline'>): readonly Problem[] =>
  timeline.flatMap(({ action, targets, line, options }) => {
    if (!isFault(action) || action === 'throttle') return [];
    if (options.clock === 'boot')
      return [{ line, message: 'no machine of the simulation is suspended', cure: 'Use --target local.' }];
    const wrong = targets.find((target) => !(faultParts[action] as readonly string[]).includes(target));
    if (wrong !== undefined) {
      const message = `the simulation cannot do ${action} to ${wrong}`;
      return [{ line, message, cure: `target one of ${faultParts[action].join(', ')}, or run it on another target` }];
    }
    const [a, b] = targets;
    const isOfServers = action === 'cut' && [a, b].every((one) => one === 'nats' || one === 'postgres');
    return isOfServers
      ? [{ line, message: 'nats and postgres do not call each other', cure: 'cut a service from one of them' }]
      : [];
  });

/** Names of parts in the simulation. */
const partOf = (part: CloudPart): Part => (part === 'nats' ? 'bus' : part === 'postgres' ? 'store' : part);
const isService = (part: CloudPart): part is Workload => part !== 'nats' && part !== 'postgres';

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
  readonly #down = new Set<CloudPart>();
  /** How many active faults separate two parts, by their names. */
  readonly #cuts = new Map<string, number>();

  constructor(parts: FaultParts) {
    this.#parts = parts;
  }

  /** Whether a process was ended and not started again. */
  isDown(part: CloudPart): boolean {
    return this.#down.has(part);
  }

  /** Carries out a step. @param vaults those that `throttle` affects, by name @returns when it took effect, in milliseconds since the epoch */
  async carryOut({ name, action, targets, options }: Step, vaults: readonly string[] = []): Promise<number> {
    if (!isFault(action)) throw new Error(`${action} is no fault`);
    const effectMs = this.#parts.world.clock.now();
    const parts = action === 'throttle' ? ['key-vault' as const] : (targets as readonly CloudPart[]);
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

  #strike(action: Exclude<FaultAction, 'restart' | 'cut'>, part: CloudPart, byMs: number): Lasting {
    switch (action) {
      case 'kill':
        return this.#kill(part);
      case 'pause':
        return this.#pause(part);
      case 'slow':
        return this.#slow(part, byMs);
      case 'shift-clock':
        return this.#shiftClock(part, byMs);
      case 'slow-storage':
        return this.#slowStorage(part, byMs);
      case 'fill-storage':
        return this.#storage(part, 'full');
      case 'fail-storage':
        return this.#storage(part, 'fail');
    }
  }

  /** Notes a disturbance. @returns a function that ends it; its argument is the service whose process was replaced */
  #disturb(...parts: readonly Disturbed[]): (restarted?: Workload) => void {
    const { world, disturbances } = this.#parts;
    const end = disturbances.begin(...parts);
    const n = this.disturbed.push({ parts, fromMs: world.clock.now() }) - 1;
    return (restarted) => {
      if (restarted !== undefined) disturbances.noteStart(restarted);
      end();
      const begun = this.disturbed[n];
      if (begun === undefined) return;
      const toMs = world.clock.now();
      this.disturbed[n] = { ...begun, toMs, ...(restarted === undefined ? {} : { restarted }) };
    };
  }

  #kill(part: CloudPart): Lasting {
    const { world, truth, onGone } = this.#parts;
    onGone(part);
    this.#down.add(part);
    if (!isService(part)) {
      const { heal } = this.#isolate(part);
      return {
        heal: async () => {
          this.#down.delete(part);
          await heal();
        },
      };
    }
    world.faults.crash(part);
    if (part === 'disk') for (const content of truth.contents.values()) content.crash();
    const end = this.#disturb(part);
    return {
      heal: async () => {
        await world.faults.restart(part);
        this.#down.delete(part);
        end(part);
      },
    };
  }

  async #restart(part: CloudPart): Promise<void> {
    const { heal } = this.#kill(part);
    await this.#parts.world.clock.sleep(restartMs);
    await heal();
  }

  #pause(part: CloudPart): Lasting {
    if (!isService(part)) return this.#isolate(part);
    const { world } = this.#parts;
    world.faults.pause(part, Number.POSITIVE_INFINITY);
    const end = this.#disturb(part);
    return {
      heal: () => {
        world.faults.resume(part);
        end();
      },
    };
  }

  /** No service reaches the server. Its clients connect again afterwards. */
  #isolate(part: 'nats' | 'postgres'): Lasting {
    const server = partOf(part);
    const heals = workloads.map((service) => this.#part(service, server));
    const end = this.#disturb(server as Disturbed);
    return {
      heal: () => {
        for (const heal of heals) heal();
        end();
      },
    };
  }

  #cut(one: CloudPart, other: CloudPart): Lasting {
    const [a, b] = [partOf(one), partOf(other)];
    const heal = this.#part(a, b);
    const end = this.#disturb(a as Disturbed, b as Disturbed);
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
    const pair = [a, b].toSorted().join('|');
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

  #slow(part: CloudPart, byMs: number): Lasting {
    const { world } = this.#parts;
    const service = part as Workload;
    world.faults.slow(service, byMs);
    const end = this.#disturb(service, 'calls');
    return {
      heal: () => {
        world.faults.slow(service, 0);
        end();
      },
    };
  }

  /** Dates of keys refer to the clock of key-vault, so its shift changes what is true. */
  #shiftClock(part: CloudPart, byMs: number): Lasting {
    const { world, truth } = this.#parts;
    const service = part as Workload;
    const set = (ms: number): void =>
      service === 'key-vault'
        ? truth.losses.setClock(() => world.faults.jumpClock(service, ms))
        : world.faults.jumpClock(service, ms);
    set(byMs);
    const end = this.#disturb(service);
    return {
      heal: () => {
        set(0);
        end();
      },
    };
  }

  /** Each operation is up to this much late, before and after it takes effect. */
  #slowStorage(part: CloudPart, byMs: number): Lasting {
    const { rates } = this.#parts.world.faults;
    const slowed = part === 'postgres' ? rates.stores : rates.volumes;
    const { delay, delayMs } = slowed;
    Object.assign(slowed, { delay: 1, delayMs: byMs });
    const end = this.#disturb(part === 'postgres' ? 'store' : 'volumes');
    return {
      heal: () => {
        Object.assign(slowed, { delay, delayMs });
        end();
      },
    };
  }

  #storage(part: CloudPart, how: 'full' | 'fail'): Lasting {
    const { rates } = this.#parts.world.faults;
    const share = how === 'full' ? 1 : failingShare;
    if (part === 'postgres') {
      rates.stores.refuse = share;
      const end = this.#disturb('store');
      return {
        heal: () => {
          rates.stores.refuse = 0;
          end();
        },
      };
    }
    rates.volumes[how] = share;
    const end = this.#disturb('volumes');
    return {
      heal: () => {
        rates.volumes[how] = 0;
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

/** Share of writes that failing storage refuses. */
const failingShare = 0.5;
/** When a throttled caller may retry, in milliseconds. */
const throttledMs = 1_000;
