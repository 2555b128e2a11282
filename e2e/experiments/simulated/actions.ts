import type { RecordedEvent } from '@interlock/event-store';
import {
  type Effect,
  groupsOf,
  isHostAction,
  keyOfTarget,
  type Plan,
  type RefusalRecord,
  type Step,
  type Undo,
} from '@interlock/lab';
import type { RefusedOperation } from '@interlock/lab/judge/recording/replay';
import { traceIdOf } from '@interlock/runtime';
import { type KeyPlace, readKeyState } from '../../cloud/key-state.ts';
import type { KeyOwner } from '../../cloud/service-owner.ts';
import type { Committed, SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { type Clients, ownerToken } from '../../simulation/workload/estate.ts';
import { carryOutHostAction, type HostUndo, planHostAction, undoHostAction } from '../cloud/host-actions.ts';
import { whereabouts, withHosts } from '../cloud/hosts.ts';
import { insist } from '../cloud/insist.ts';
import {
  carryOutKeyAction,
  isKeyAction,
  type KeyEffect,
  type KeyUndo,
  orRefused,
  planKeyAction,
  undoKeyAction,
} from '../cloud/key-actions.ts';
import {
  carryOutMachineAction,
  isBusy,
  isMachineAction,
  type MachineUndo,
  planMachineAction,
  startStopped,
  undoMachineAction,
} from '../cloud/machine-actions.ts';
import type { MadeEstate } from '../cloud/planned-estate.ts';
import { type Faults, isFault } from './faults.ts';

/** The plan of a fault. */
interface FaultData {
  /** Those of the step, each disk host by its number. */
  readonly targets: readonly string[];
  /** Names of the vaults that `throttle` affects. */
  readonly vaults?: readonly string[];
}

/** What the actions of a lab need. */
export interface ActionParts {
  readonly plan: Plan;
  readonly world: SimulatedCloud;
  readonly clients: Clients;
  readonly made: MadeEstate;
  readonly faults: Faults;
  /** The host of a disk as a target, by the full name of the disk. */
  readonly hostOf: (disk: string) => string;
}

/** Carries out the steps of a timeline in a simulated cloud, and undoes them. */
export class Actions {
  readonly #parts: ActionParts;
  readonly #owner: KeyOwner;
  /** Events of owners of access since the start, oldest first. */
  readonly #events: RecordedEvent[] = [];
  readonly #carriedOut = new Set<string>();
  readonly #refusals: RefusedOperation[] = [];

  constructor(parts: ActionParts) {
    this.#parts = parts;
    const { world, clients } = parts;
    this.#owner = { clients, now: () => world.clockOf('key-vault'), ownerToken: () => ownerToken(world) };
  }

  onCommit({ service, events }: Committed): void {
    if (service !== 'disk' && service !== 'compute') this.#events.push(...events);
  }

  async plan(step: Step): Promise<Undo> {
    const { action, name } = step;
    return { step: name, action, data: { ...(await this.#dataOf(step)) } };
  }

  async carryOut(step: Step, undo: Undo): Promise<Effect> {
    const { world, clients, faults } = this.#parts;
    const { action } = step;
    const sinceMs = world.clock.now();
    this.#carriedOut.add(step.name);
    if (isFault(action)) {
      const { targets, vaults } = undo.data as unknown as FaultData;
      const hosts = targets.filter((target) => !step.targets.includes(target));
      const effectMs = await faults.carryOut(step, targets, vaults);
      return { effectMs, ...(hosts.length === 0 ? {} : { hosts }) };
    }
    if (isHostAction(action)) {
      const data = undo.data as unknown as HostUndo;
      await insist(world.clock, () => carryOutHostAction(clients, action, data));
      return { effectMs: world.clock.now(), hosts: step.targets.includes(data.host) ? [] : [data.host] };
    }
    if (isMachineAction(action)) {
      const { machines } = undo.data as unknown as MachineUndo;
      const work = () => carryOutMachineAction(clients, action, { machines }, world.clock.now);
      return this.#refusedBy(step.name, sinceMs, await insist(world.clock, work, isBusy));
    }
    if (!isKeyAction(action)) throw new Error(`${action} is no action of a timeline`);
    const effects: Effect[] = [];
    for (const key of keysIn(undo)) {
      const work = () => carryOutKeyAction(this.#owner, action, key);
      const effect = await insist(world.clock, () => orRefused({ action, key: key.key }, world.clock.now, work));
      effects.push(this.#effectOf(step.name, effect, sinceMs));
    }
    return together(effects);
  }

  async undo(undo: Undo, start: boolean): Promise<Effect> {
    const { step, action, data } = undo;
    const { world, clients, faults } = this.#parts;
    if (!this.#carriedOut.delete(step)) return {};
    const sinceMs = world.clock.now();
    if (isFault(action)) {
      await faults.undo(step);
      return { effectMs: sinceMs };
    }
    if (isHostAction(action)) {
      await insist(world.clock, () => undoHostAction(clients, action, data as unknown as HostUndo));
      return { effectMs: sinceMs };
    }
    if (isMachineAction(action)) {
      const { machines } = data as unknown as MachineUndo;
      await insist(world.clock, () => undoMachineAction(clients, action, { machines }), isBusy);
      return { effectMs: sinceMs };
    }
    if (!isKeyAction(action)) throw new Error(`${action} is no action of a timeline`);
    const effects: Effect[] = [];
    for (const key of keysIn(undo)) {
      const effect = await insist(world.clock, () => undoKeyAction(this.#owner, action, key));
      effects.push(this.#effectOf(step, effect, sinceMs));
      const { set } = key.key.place;
      if (start) await insist(world.clock, () => startStopped(clients, world.clock, set, this.#machinesUnder(set)));
    }
    return together(effects);
  }

  async #dataOf(step: Step): Promise<object> {
    const { action, targets, options } = step;
    const { plan, world, clients, made, hostOf } = this.#parts;
    const uuid = (): string => world.random.uuid();
    if (action === 'throttle')
      return { targets, vaults: targets.map((target) => this.#placeOf(keyOfTarget(plan.estate, target)).vault) };
    if (isFault(action) || isHostAction(action)) {
      const { vmHostOf } = await whereabouts(clients, step, made.machines, new Map());
      const named = withHosts(step, made.machines, { hostOf, vmHostOf });
      return isFault(action) ? { targets: named } : planHostAction({ ...step, targets: named }, made.machines);
    }
    if (isMachineAction(action)) {
      const machines = made.machines.filter(({ group }) => targets.includes(group));
      return planMachineAction(clients, { action }, { machines, keys: made.keys, uuid });
    }
    const stateOf = (target: string) => readKeyState(clients, this.#placeOf(keyOfTarget(plan.estate, target)));
    const to = options.to === undefined ? {} : { to: await stateOf(String(options.to)) };
    const states = await Promise.all(targets.map(stateOf));
    return { keys: states.map((key) => planKeyAction(step, { key, ...to, uuid })) };
  }

  #placeOf(key: string): KeyPlace {
    const place = this.#parts.made.keys.get(key);
    if (place === undefined) throw new Error(`the estate has no key ${key}`);
    return place;
  }

  /** Machines with a disk under the key of a set. */
  #machinesUnder(set: string): readonly string[] {
    const { plan, made } = this.#parts;
    const isUnder = (group: string): boolean =>
      groupsOf(plan.estate).some(
        ({ name, disks }) => name === group && disks.some(({ key }) => made.keys.get(key)?.set === set),
      );
    return made.machines.filter(({ group }) => isUnder(group)).map(({ name }) => name);
  }

  /** Operations of users that services refused because of a key, with the steps that they belong to. */
  get refusals(): readonly RefusedOperation[] {
    return this.#refusals;
  }

  #refusedBy(step: string, effectMs: number, refused: readonly RefusalRecord[]): Effect {
    this.#refusals.push(...refused.map((one) => ({ ...one, step })));
    return refused.length === 0 ? { effectMs } : { refused };
  }

  /** When the owner of the key stored the change, with its trace. */
  #effectOf(step: string, { keyVersions, effectMs, event, refused }: KeyEffect, sinceMs: number): Effect {
    if (refused !== undefined) return this.#refusedBy(step, sinceMs, [refused]);
    const found = this.#events.find(
      ({ stream, type, time }) => time >= sinceMs && stream === event?.stream && event.types.includes(type),
    );
    const traceId = traceIdOf(found?.cause.traceparent);
    const atMs = effectMs ?? found?.time;
    return {
      keyVersions,
      ...(atMs === undefined ? {} : { effectMs: atMs }),
      ...(traceId === undefined ? {} : { traceId }),
    };
  }
}

/** The undo of a key action, for each key that its step targets. */
const keysIn = ({ data }: Undo): readonly KeyUndo[] => (data as unknown as { readonly keys: readonly KeyUndo[] }).keys;

/** Key versions to which a key action removes access. */
export const keyVersionsIn = (undo: Undo): readonly string[] =>
  isKeyAction(undo.action) ? keysIn(undo).flatMap(({ key }) => key.keyVersions) : [];

/** The effect of one step on several keys: the first moment counts. */
const together = (effects: readonly Effect[]): Effect => ({
  ...effects[0],
  keyVersions: effects.flatMap(({ keyVersions = [] }) => keyVersions),
  ...(effects.some(({ refused }) => refused) && { refused: effects.flatMap(({ refused = [] }) => refused) }),
});
