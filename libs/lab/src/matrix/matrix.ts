import { parse, stringify } from 'yaml';
import { findCause } from '../causes/causes.ts';
import type { DiskClass, Experiment, Problem } from '../experiment.ts';
import { readExperiment } from '../file/read-experiment.ts';
import { type RawDisk, type RawFile, type RawGroup, type RawStep, synonyms } from '../file/shape.ts';
import { takesAccess } from '../timeline/actions.ts';
import { keyOfTarget } from '../timeline/concerns.ts';

/** The `matrix` of a file: it runs once for each cause, class and fault. */
export interface RawMatrix {
  /** Actions in place of the one that takes the key: `disable-key`, or `remove-permission: unwrap`. */
  readonly causes: readonly (string | Readonly<Record<string, string>>)[];
  /** Classes in place of those of the disks under that key; with expectations in place of those of the file. */
  readonly classes: readonly (string | Readonly<Record<string, readonly string[]>>)[];
  /** Steps in addition to those of the file; `none` for no step. */
  readonly faults: readonly ('none' | RawStep)[];
}

/** One experiment of a matrix. */
export interface MatrixCase {
  /** `delete-key, ultra, kill nats` */
  readonly title: string;
  /** The case as a separate file. */
  readonly text: string;
  readonly experiment: Experiment;
}

/** The experiments of a matrix, or their problems. */
export type ReadMatrix = { readonly cases: readonly MatrixCase[] } | { readonly problems: readonly Problem[] };

/** Most experiments of a matrix. */
const casesMax = 1_000;

/** Classes that no machine can boot from: the machine gets an additional OS disk. */
const dataOnly: readonly string[] = ['ultra', 'premium-ssd-v2'] satisfies readonly DiskClass[];

/**
 * Expands the matrix of a valid file, with its estate inside.
 * @returns undefined if the file has none
 */
export function readMatrix(text: string): ReadMatrix | undefined {
  const data: Readonly<Record<string, unknown>> = parse(text);
  const { matrix, ...rest } = data as { readonly matrix?: RawMatrix };
  if (matrix === undefined) return undefined;
  const line = text.slice(0, /^matrix\s*:/m.exec(text)?.index ?? 0).split('\n').length;
  const refuse = (message: string, cure: string): ReadMatrix => ({ problems: [{ line, message, cure }] });
  const { causes, classes, faults } = matrix;
  const count = causes.length * classes.length * faults.length;
  if (count > casesMax) return refuse(`the matrix has ${count} cases`, `At most ${casesMax} are allowed.`);
  const read = readExperiment(stringify(rest));
  if ('problems' in read) return { problems: read.problems };
  const losses = read.experiment.timeline.filter(({ action }) => takesAccess(action));
  const [loss] = losses;
  if (loss === undefined || losses.length > 1)
    return refuse(
      `a matrix replaces the one step that takes a key away, and the timeline has ${losses.length}`,
      'Keep one such step.',
    );
  const [target = ''] = loss.targets;
  const template = { rest: namedAsHere(rest), loss: loss.action, key: keyOfTarget(read.experiment.estate, target) };
  const cases = causes.flatMap((cause) =>
    classes.flatMap((diskClass) => faults.map((fault) => caseOf(template, { cause, diskClass, fault }))),
  );
  const problems = cases.flatMap(({ title, found }) =>
    'problems' in found
      ? found.problems.map(({ message, cure }) => ({ line, message: `the case ${title}: ${message}`, cure }))
      : [],
  );
  if (problems.length > 0) return { problems };
  return {
    cases: cases.flatMap(({ title, text: own, found }) =>
      'experiment' in found ? [{ title, text: own, experiment: found.experiment }] : [],
    ),
  };
}

/** Sections by the names used here. */
const namedAsHere = (data: object): RawFile =>
  Object.fromEntries(
    Object.entries(data).map(([name, value]) => [synonyms[name] ?? name, value]),
  ) as unknown as RawFile;

interface Template {
  readonly rest: RawFile;
  /** Action of the step that is replaced. */
  readonly loss: string;
  /** The key that it takes. */
  readonly key: string;
}

interface Cell {
  readonly cause: RawMatrix['causes'][number];
  readonly diskClass: RawMatrix['classes'][number];
  readonly fault: RawMatrix['faults'][number];
}

function caseOf({ rest, loss, key }: Template, { cause, diskClass, fault }: Cell) {
  const [action, choice] = nameOf(cause);
  const [name, expect] = nameOf(diskClass);
  const groups = rest.estate as Readonly<Record<string, RawGroup>>;
  const estate = Object.fromEntries(
    Object.entries(groups).map(([group, raw]) => [group, { ...raw, disks: disksOf(raw, key, name) }]),
  );
  const timeline = (rest.timeline ?? []).map((step): RawStep => {
    if (step[loss] === undefined) return step;
    const { [loss]: target, permission: _, operation: __, ...options } = step;
    return { ...options, [action]: target, ...choiceIn(action, choice) };
  });
  const faultTitle = fault === 'none' ? 'none' : titleOf(fault);
  const title = `${action}, ${name}, ${faultTitle}`;
  const text = stringify({
    ...rest,
    title: `${rest.title}: ${title}`,
    estate,
    timeline: fault === 'none' ? timeline : [fault, ...timeline],
    ...(expect === undefined ? {} : { expect }),
  });
  return { title, text, found: readExperiment(text) };
}

/** The option that a cause with a choice needs. */
const choiceIn = (action: string, choice: string | undefined): RawStep => {
  const option = findCause(action)?.choice?.option;
  return option === undefined || choice === undefined ? {} : { [option]: choice };
};

/** An entry that is a name, or a name with a value. */
const nameOf = <Value>(entry: string | Readonly<Record<string, Value>>): readonly [string, Value | undefined] => {
  if (typeof entry === 'string') return [entry, undefined];
  const [[name, value] = ['', undefined]] = Object.entries(entry);
  return [name, value];
};

/** `kill nats` of `{at: 0s, kill: nats, for: 20s}` */
const titleOf = (fault: RawStep): string => {
  const [[action, target] = ['', '']] = Object.entries(fault).filter(
    ([name]) => !['at', 'as', 'for', 'by'].includes(name),
  );
  return `${action} ${[target].flat().join(' and ')}`;
};

/** The disks of a group, those under the key of another class. */
function disksOf({ disks, key: own }: RawGroup, key: string, diskClass: string): readonly RawDisk[] {
  const changed = disks.map((disk): RawDisk => {
    if (typeof disk === 'string') return own === key ? diskClass : disk;
    const [[name, its] = ['', '']] = Object.entries(disk);
    return its === key ? { [diskClass]: its } : { [name]: its };
  });
  const [first] = changed;
  const isData = dataOnly.includes(typeof first === 'string' ? first : (Object.keys(first ?? {})[0] ?? ''));
  return isData ? [{ 'standard-ssd': 'platform' }, ...changed] : changed;
}
