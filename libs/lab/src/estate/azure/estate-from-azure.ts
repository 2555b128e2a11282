import type { EstateFile } from '../estate-file.ts';
import { factsOfDisk, type MappedDisk, mapDisk } from './disks.ts';
import { type AzureId, TwinNames } from './ids.ts';
import { noteIgnored } from './ignored.ts';
import { keyFactsOf } from './keys.ts';
import { mapMachine } from './machines.ts';
import { type IgnoredNote, type TwinNote, TwinNotes } from './notes.ts';
import { type AzureFile, type FileProblem, nameOf, type Row, type Rows, rowsOf, textOf } from './rows.ts';
import { idOf, mapSets } from './sets.ts';

/** A twin of a subscription. Every row of the files is in the estate or in one of the lists. */
export interface Twin {
  readonly estate: EstateFile;
  readonly notMapped: readonly TwinNote[];
  /** Resources that the twin has in another form. */
  readonly changed: readonly TwinNote[];
  /** Properties that matter for keys and encryption, and that the twin has not. */
  readonly ignored: readonly IgnoredNote[];
  /** Machines of the files that are not in the twin. */
  readonly machinesLeftOut: readonly string[];
}

interface Identified {
  readonly row: Row;
  readonly id: AzureId;
}

/**
 * Creates a twin from the output of `az vm list -d`, `az disk list`, `az disk-encryption-set list`, `az keyvault show` and `az keyvault
 * key list` or `list-versions` with `-o json`, or from rows of Resource Graph; files in any order, also several of one kind.
 * @param scale sizes of disks are divided by it, to at least 1 GiB
 * @param nowMs milliseconds since the epoch: decides which keys have expired
 */
export function estateFromAzure(
  files: readonly AzureFile[],
  { scale, nowMs }: { readonly scale: number; readonly nowMs: number },
): Twin | { readonly problems: readonly FileProblem[] } {
  const rows = rowsOf(files);
  if ('problems' in rows) return rows;
  const notes = new TwinNotes();
  for (const { name, type } of rows.others)
    notes.drop(`${type} ${name}`, 'a twin has machines, disks, sets and vaults');
  const { machine, disk, set } = identified(rows, notes);
  const setNames = new TwinNames();
  const diskNames = new TwinNames();
  const machineNames = new TwinNames();
  const facts = keyFactsOf(rows.of.key, notes);
  const { sets, vaults } = mapSets(set, setNames, { vaultRows: rows.of.vault, facts, nowMs, notes });
  for (const [kind, all] of [
    ['machine', machine],
    ['disk', disk],
    ['set', set],
  ] as const)
    for (const { row, id } of all) noteIgnored(kind, id.name, row, notes);
  const mapping = { sets, names: diskNames, notes, scale };
  const disks = new Map<string, MappedDisk>();
  for (const { row, id } of disk) {
    const mapped = mapDisk(id, factsOfDisk(row), row, mapping);
    if ('reason' in mapped) notes.drop(`disk ${id.name} (group ${id.group})`, mapped.reason);
    disks.set(id.key, mapped);
  }
  const machineMapping = { ...mapping, disks, taken: new Set<string>(), machineNames };
  const mappedIds = new Set<string>();
  const machines = machine.flatMap(({ row, id }) => {
    const mapped = mapMachine(row, id, machineMapping);
    if (mapped !== undefined) mappedIds.add(id.key);
    return mapped ?? [];
  });
  noteUnattached(disk, disks, mappedIds, notes);
  for (const [kind, { renamed }] of [
    ['set', setNames],
    ['disk', diskNames],
    ['machine', machineNames],
  ] as const)
    for (const { id, name } of renamed)
      notes.change(`${kind} ${id.name} (group ${id.group})`, `it is called ${name}: another group has the same name`);
  const mappedSets = [...sets.values()].flatMap((one) => ('set' in one ? [one.set] : []));
  const mappedDisks = [
    ...[...disks.values()].flatMap((one) => ('disk' in one ? [one.disk] : [])),
    ...machines.flatMap(({ added }) => added),
  ];
  return {
    estate: placed({ vaults, sets: mappedSets, disks: mappedDisks, machines: machines.map((one) => one.machine) }),
    notMapped: notes.notMapped,
    changed: notes.changed,
    ignored: notes.ignored,
    machinesLeftOut: notes.notMapped.flatMap(({ what }) => (what.startsWith('machine ') ? [what.slice(8)] : [])),
  };
}

/** The rows with ids, of the subscription that most rows belong to; others are noted. */
function identified(
  { of }: Rows,
  notes: TwinNotes,
): Readonly<Record<'machine' | 'disk' | 'set', readonly Identified[]>> {
  const withId = (kind: 'machine' | 'disk' | 'set') =>
    of[kind].flatMap((row) => {
      const id = idOf(row);
      if (id !== undefined) return [{ row, id }];
      notes.drop(
        `${kind} ${nameOf(row)}`,
        `its id "${textOf(row.id)}" is not /subscriptions/…/resourceGroups/…/providers/…`,
      );
      return [];
    });
  const all = { machine: withId('machine'), disk: withId('disk'), set: withId('set') };
  const counts = new Map<string, number>();
  for (const { id } of [...all.machine, ...all.disk, ...all.set])
    counts.set(id.subscription, (counts.get(id.subscription) ?? 0) + 1);
  const [[subscription] = ['']] = [...counts].toSorted(([, a], [, b]) => b - a);
  const own = (kind: 'machine' | 'disk' | 'set') =>
    all[kind].filter(({ id }) => {
      if (id.subscription === subscription) return true;
      notes.drop(
        `${kind} ${id.name} (group ${id.group})`,
        `it is in the subscription ${id.subscription}, and most rows are of ${subscription}: make another twin of its rows`,
      );
      return false;
    });
  return { machine: own('machine'), disk: own('disk'), set: own('set') };
}

/** A disk whose machine is not mapped is a disk without a machine. @param machines ids of the mapped machines */
function noteUnattached(
  rows: readonly Identified[],
  disks: ReadonlyMap<string, MappedDisk>,
  machines: ReadonlySet<string>,
  notes: TwinNotes,
): void {
  for (const { row, id } of rows) {
    const holder = textOf(row.managedby);
    const mapped = disks.get(id.key);
    if (holder === '' || machines.has(holder.toLowerCase()) || mapped === undefined || 'reason' in mapped) continue;
    notes.change(
      `disk ${mapped.disk.name}`,
      `its machine ${holder.split('/').at(-1)} is not mapped: no machine has it`,
    );
  }
}

type Placed<Resource> = readonly (Resource & { readonly location: string })[];

/** The estate with its most frequent region as the default; only resources elsewhere name their region. */
function placed({
  vaults,
  sets,
  disks,
  machines,
}: {
  readonly vaults: Placed<EstateFile['vaults'][number]>;
  readonly sets: Placed<EstateFile['sets'][number]>;
  readonly disks: Placed<EstateFile['disks'][number]>;
  readonly machines: Placed<EstateFile['machines'][number]>;
}): EstateFile {
  const counts = new Map<string, number>();
  for (const { location } of [...vaults, ...sets, ...disks, ...machines])
    counts.set(location, (counts.get(location) ?? 0) + 1);
  const [[location] = ['westeurope']] = [...counts].toSorted(([, a], [, b]) => b - a);
  const without = <Resource extends { readonly location: string }>(all: readonly Resource[]) =>
    all.map(({ location: own, ...rest }) => (own === location ? rest : { ...rest, location: own }));
  return {
    location,
    vaults: without(vaults),
    sets: without(sets),
    disks: without(disks),
    machines: without(machines),
  };
}
