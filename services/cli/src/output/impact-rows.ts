import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { objectsIn, textsIn } from '../verbs/before.ts';

/** A row of the table of an impact. Fields are texts, empty where there is nothing to show. */
export type ImpactRow = Readonly<Record<'resource' | 'effect' | 'detail' | 'set' | 'key', string>>;

/** The worst effect first. */
const machineKinds = ['VIRTUAL_MACHINE_STOPS', 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START'];

const isOfMachine = ({ kind }: JsonObject): boolean => String(kind).startsWith('VIRTUAL_MACHINE_');

/**
 * The effects of a lost key, for a terminal: machines first, each with its disks below it, then what no machine has, then sets.
 * The set and the key are shown only if there are several.
 * @param rows of the message Impact
 * @param short a name as users type it
 */
export function impactRows(rows: readonly JsonValue[], short: (name: string) => string): readonly ImpactRow[] {
  const impacts = objectsIn([...rows]);
  const machines = [...Map.groupBy(impacts.filter(isOfMachine), ({ resource }) => String(resource))].toSorted(
    ([, a], [, b]) => worst(a) - worst(b),
  );
  const names = new Set(machines.map(([name]) => name));
  const others = impacts.filter((one) => !isOfMachine(one));
  const owned = Map.groupBy(others, ({ virtualMachine }) => String(virtualMachine));
  const rest = others.filter(({ virtualMachine }) => !names.has(String(virtualMachine)));
  const rowsOf = (all: readonly JsonObject[], indent = '') => all.map((one) => rowOf(one, indent, short));
  const shown = [
    ...machines.flatMap(([name, effects]) => {
      const disks = owned.get(name) ?? [];
      return [...rowsOf(effects), ...rowsOf([...disks, ...unlisted(effects, disks)], '  ')];
    }),
    ...rowsOf(rest.filter(({ kind }) => kind !== 'SET_LOSES_KEY')),
    ...rowsOf(rest.filter(({ kind }) => kind === 'SET_LOSES_KEY')),
  ];
  const without = (['set', 'key'] as const).filter(
    (field) => new Set(shown.map((row) => row[field]).filter((text) => text !== '')).size < 2,
  );
  return shown.map((row) => ({ ...row, ...Object.fromEntries(without.map((field) => [field, ''])) }));
}

const worst = (effects: readonly JsonObject[]): number =>
  effects.map(({ kind }) => machineKinds.indexOf(String(kind))).reduce((a, b) => Math.min(a, b));

/** Disks that only the row of their machine names. */
const unlisted = (effects: readonly JsonObject[], disks: readonly JsonObject[]): readonly JsonObject[] =>
  effects.flatMap(({ disks: named, diskEncryptionSet = '' }) =>
    textsIn(named)
      .filter((disk) => !disks.some(({ resource }) => resource === disk))
      .map((disk) => ({ kind: 'DISK_', resource: disk, diskEncryptionSet })),
  );

/** Nouns of the command line. */
const nouns: Readonly<Record<string, string>> = {
  VIRTUAL_MACHINE: 'vm',
  DISK: 'disk',
  SNAPSHOT: 'snapshot',
  SET: 'set',
};

function rowOf(impact: JsonObject, indent: string, short: (name: string) => string): ImpactRow {
  const [, type = '', effect = ''] = /^(VIRTUAL_MACHINE|DISK|SNAPSHOT|SET)_(.*)$/.exec(String(impact.kind)) ?? [];
  const name = (value: unknown): string => (typeof value === 'string' && value !== '' ? short(value) : '');
  const machine = indent === '' ? name(impact.virtualMachine) : '';
  const details = [
    ...[impact.powerState, impact.sku].filter((text) => typeof text === 'string' && !/^$|_UNSPECIFIED$/.test(text)),
    ...(machine === '' ? [] : [`of ${machine}`]),
    ...(impact.startsAgain === true ? ['starts again'] : []),
    ...(impact.already === true ? ['already so'] : []),
  ];
  return {
    resource: `${indent}${nouns[type] ?? ''} ${name(impact.resource)}`,
    effect: effect === '' && type === '' ? String(impact.kind) : effect,
    detail: details.join(', '),
    set: name(impact.diskEncryptionSet),
    // The last part of a version is its id.
    key: textsIn(impact.keyVersions)
      .map((version) => short(version).replace(/\/[0-9a-f]{24,}$/, (id) => `${id.slice(0, 9)}…`))
      .join(', '),
  };
}
