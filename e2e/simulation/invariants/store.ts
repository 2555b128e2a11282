import { isDeepStrictEqual } from 'node:util';
import { type CategoryDefinition, eventReader, type RecordedEvent, type StoredRow } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import { virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import { disks } from '../../../services/disk/src/disk/state.ts';
import { snapshots } from '../../../services/disk/src/snapshot/decider.ts';
import { sets } from '../../../services/disk-encryption-set/src/set/streams.ts';
import { grantHolders } from '../../../services/identity/src/grant-holder/decider.ts';
import { ownerRemovals } from '../../../services/identity/src/platform-owner/decider.ts';
import { principals } from '../../../services/identity/src/principal/decider.ts';
import { roleAssignments } from '../../../services/identity/src/role-assignment/decider.ts';
import { keys } from '../../../services/key-vault/src/key/key.ts';
import { vaults } from '../../../services/key-vault/src/vault/vault.ts';
import type { CloudImage, SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { HistoryLog } from '../runs/history-log.ts';

/** A stream's state and version. */
interface Folded<State> {
  readonly state: State;
  readonly version: number;
}

/** Events of a stream are not numbered one after the other. */
class Disorder extends Error {}

/** What is checked of one kind of stream; the state stays a secret of its service. */
interface Kind {
  readonly service: Workload;
  check(world: SimulatedCloud): Promise<string | undefined>;
}

const kind = <State, Event extends { readonly type: string }>(
  service: Workload,
  definition: CategoryDefinition<State, Event>,
): Kind => {
  const table = `${definition.name}_v${definition.stateVersion}`;
  const read = eventReader<Event>(definition);
  /** What was folded of an image: the same for every history that begins with it. */
  const begun = new WeakMap<CloudImage, ReadonlyMap<string, Folded<State>>>();
  /** Rows of images that were held against their fold; whoever still has the very row changed nothing. */
  const compared = new WeakSet<StoredRow>();

  /** Goes on folding. @throws Disorder where an event does not follow the one before */
  const foldOn = (
    from: ReadonlyMap<string, Folded<State>>,
    events: readonly RecordedEvent[],
  ): ReadonlyMap<string, Folded<State>> => {
    const states = new Map(from);
    for (const recorded of events) {
      const found = read(recorded);
      if (!found) continue;
      const { state, version } = states.get(found.id) ?? { state: definition.initial, version: 0 };
      if (recorded.version !== version + 1)
        throw new Disorder(`${recorded.stream} has ${recorded.version} after ${version}`);
      states.set(found.id, { state: definition.evolve(state, found.event), version: version + 1 });
    }
    return states;
  };
  const begunStates = (image: CloudImage | undefined, feed: readonly RecordedEvent[]) => {
    const known = image && begun.get(image);
    const states = known ?? foldOn(new Map(), feed);
    if (image) begun.set(image, states);
    return states;
  };

  const wrongRows = async ({ storeOf, begunWith }: SimulatedCloud): Promise<string | undefined> => {
    const store = storeOf(service);
    const { feed = [], tables } = begunWith?.stores.get(service) ?? {};
    const states = foldOn(begunStates(begunWith, feed), await store.feed(feed.length, 1_000_000));
    const before = tables?.get(table)?.rows;
    const rows = new Map((await store.listRows({ table, limit: 1_000_000 })).map((row) => [row.key, row]));
    const entries = new Map<string, Set<string>>();
    for (const [id, { state, version }] of states) {
      const row = rows.get(id);
      if (definition.isGone?.(state)) {
        if (row) return `${id} is gone, but has a row`;
        continue;
      }
      if (row?.version !== version) return `the row of ${id} is of version ${row?.version}, its stream of ${version}`;
      // What JSON leaves out says nothing.
      if (!compared.has(row) && !isDeepStrictEqual(row.row, JSON.parse(JSON.stringify(state))))
        return `the row of ${id} is not its fold`;
      if (before?.get(id) === row) compared.add(row);
      for (const { index, value } of definition.indexes?.(state, id) ?? []) {
        const name = `${index}\n${value}`;
        entries.set(name, (entries.get(name) ?? new Set()).add(id));
      }
    }
    for (const [name, ids] of entries) {
      const [index = '', value = ''] = name.split('\n');
      const listed = await store.listRows({ table, index: { index, value }, limit: 1_000_000 });
      if (listed.length !== ids.size || listed.some(({ key }) => !ids.has(key))) {
        return `${table} lists ${listed.length} for ${index} = ${value}, which are ${ids.size}`;
      }
    }
    return undefined;
  };

  return {
    service,
    async check(world) {
      try {
        return await wrongRows(world);
      } catch (error) {
        if (error instanceof Disorder) return error.message;
        throw error;
      }
    },
  };
};

const kinds: readonly Kind[] = [
  kind('identity', principals),
  kind('identity', roleAssignments),
  kind('identity', grantHolders),
  kind('identity', ownerRemovals),
  kind('key-vault', vaults),
  kind('key-vault', keys),
  kind('disk-encryption-set', sets),
  kind('disk', disks),
  kind('disk', snapshots),
  kind('compute', virtualMachines),
];

/** G7: every row is the fold of its stream's events, and every index lists what the rows say. */
export const checkRows = async (world: SimulatedCloud, log: HistoryLog): Promise<void> => {
  for (const { service, check } of kinds) {
    const wrong = await check(world);
    if (wrong !== undefined) log.violate('G7', `state of ${service} is the fold of its stored events`, wrong);
  }
};
