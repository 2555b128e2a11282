import { isDeepStrictEqual } from 'node:util';
import {
  type CategoryDefinition,
  type EventStore,
  eventReader,
  type RecordedEvent,
  type StoredRow,
} from '@interlock/event-store';
import type { Findings } from '@interlock/lab/judge/findings';
import type { Workload } from '@interlock/rpc';
import { virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import { disks } from '../../../services/disk/src/disk/state.ts';
import { diskHosts } from '../../../services/disk/src/fleet/decider.ts';
import { snapshots } from '../../../services/disk/src/snapshot/decider.ts';
import { sets } from '../../../services/disk-encryption-set/src/set/streams.ts';
import { ownerRemovals } from '../../../services/identity/src/platform-owner/removals.ts';
import { principals } from '../../../services/identity/src/principal/decider.ts';
import { roleAssignments } from '../../../services/identity/src/role-assignment/decider.ts';
import { grantHolders } from '../../../services/identity/src/role-assignment/grant-holder.ts';
import { keys } from '../../../services/key-vault/src/key/key.ts';
import { vaults } from '../../../services/key-vault/src/vault/vault.ts';
import type { CloudImage, SimulatedCloud } from '../cloud/simulated-cloud.ts';

/** A stream's state and version. */
interface Folded<State> {
  readonly state: State;
  readonly version: number;
}

type States<State> = ReadonlyMap<string, Folded<State>>;

/** Events of a stream are not numbered consecutively. */
class Disorder extends Error {}

/** Rows of one kind of stream, compared with the fold of its events. */
class RowCheck<State, Event extends { readonly type: string }> {
  readonly service: Workload;
  readonly #definition: CategoryDefinition<State, Event>;
  readonly #table: string;
  readonly #read: ReturnType<typeof eventReader<Event>>;
  /** The fold of an image: the same for every history that starts with it. */
  readonly #ofImage = new WeakMap<CloudImage, States<State>>();
  /** Rows of images that were compared. A history that still has the same row object did not change it. */
  readonly #compared = new WeakSet<StoredRow>();

  constructor(service: Workload, definition: CategoryDefinition<State, Event>) {
    this.service = service;
    this.#definition = definition;
    this.#table = `${definition.name}_v${definition.stateVersion}`;
    this.#read = eventReader<Event>(definition);
  }

  /** @returns the problem as a text, or undefined */
  async check(world: SimulatedCloud): Promise<string | undefined> {
    const { storeOf, begunWith } = world;
    const store = storeOf(this.service);
    const { feed = [], tables } = begunWith?.stores.get(this.service) ?? {};
    try {
      const states = this.#fold(this.#statesOf(begunWith, feed), await store.feed(feed.length, 1_000_000));
      const rows = await store.listRows({ table: this.#table, limit: 1_000_000 });
      const wrong = this.#wrongRow(states, rows, tables?.get(this.#table)?.rows);
      return wrong ?? (await this.#wrongIndex(states, store));
    } catch (error) {
      if (error instanceof Disorder) return error.message;
      throw error;
    }
  }

  #wrongRow(
    states: States<State>,
    found: readonly StoredRow[],
    ofImage: ReadonlyMap<string, StoredRow> | undefined,
  ): string | undefined {
    const rows = new Map(found.map((row) => [row.key, row]));
    for (const [id, { state, version }] of states) {
      const row = rows.get(id);
      if (this.#definition.isGone?.(state)) {
        if (row) return `${id} is gone, but has a row`;
        continue;
      }
      if (row?.version !== version) return `the row of ${id} is of version ${row?.version}, its stream of ${version}`;
      // Compared as JSON, which leaves out undefined fields.
      if (!this.#compared.has(row) && !isDeepStrictEqual(row.row, JSON.parse(JSON.stringify(state)))) {
        return `the row of ${id} is not its fold`;
      }
      if (ofImage?.get(id) === row) this.#compared.add(row);
    }
    return undefined;
  }

  async #wrongIndex(states: States<State>, store: Pick<EventStore, 'listRows'>): Promise<string | undefined> {
    const entries = new Map<string, Set<string>>();
    for (const [id, { state }] of states) {
      if (this.#definition.isGone?.(state)) continue;
      for (const { index, value } of this.#definition.indexes?.(state, id) ?? []) {
        const name = `${index}\n${value}`;
        entries.set(name, (entries.get(name) ?? new Set()).add(id));
      }
    }
    for (const [name, ids] of entries) {
      const [index = '', value = ''] = name.split('\n');
      const listed = await store.listRows({ table: this.#table, index: { index, value }, limit: 1_000_000 });
      if (listed.length !== ids.size || listed.some(({ key }) => !ids.has(key))) {
        return `${this.#table} lists ${listed.length} for ${index} = ${value}; there are ${ids.size}`;
      }
    }
    return undefined;
  }

  #statesOf(image: CloudImage | undefined, feed: readonly RecordedEvent[]): States<State> {
    const states = (image && this.#ofImage.get(image)) ?? this.#fold(new Map(), feed);
    if (image) this.#ofImage.set(image, states);
    return states;
  }

  /** Continues a fold. @throws Disorder if an event does not follow the previous one */
  #fold(from: States<State>, events: readonly RecordedEvent[]): States<State> {
    const states = new Map(from);
    for (const recorded of events) {
      const found = this.#read(recorded);
      if (!found) continue;
      const { state, version } = states.get(found.id) ?? { state: this.#definition.initial, version: 0 };
      if (recorded.version !== version + 1)
        throw new Disorder(`${recorded.stream} has ${recorded.version} after ${version}`);
      states.set(found.id, { state: this.#definition.evolve(state, found.event, version + 1), version: version + 1 });
    }
    return states;
  }
}

const checks = [
  new RowCheck('identity', principals),
  new RowCheck('identity', roleAssignments),
  new RowCheck('identity', grantHolders),
  new RowCheck('identity', ownerRemovals),
  new RowCheck('key-vault', vaults),
  new RowCheck('key-vault', keys),
  new RowCheck('disk-encryption-set', sets),
  new RowCheck('disk', disks),
  new RowCheck('disk', snapshots),
  new RowCheck('disk', diskHosts),
  new RowCheck('compute', virtualMachines),
];

/** G7: every row is the fold of its stream's events, and every index matches the rows. */
export const checkRows = async (world: SimulatedCloud, log: Findings): Promise<void> => {
  for (const check of checks) {
    const wrong = await check.check(world);
    if (wrong !== undefined) log.violate('G7', `state of ${check.service} is the fold of its stored events`, wrong);
  }
};
