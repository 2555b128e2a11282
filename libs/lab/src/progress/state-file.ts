import { join } from 'node:path';
import { readUserFile, visibleInLine } from '@interlock/runtime';
import { put } from '../evidence/evidence-folder.ts';
import { runPhases } from './run-progress.ts';
import { type RunState, stateBounds } from './run-state.ts';

/** The file with the state of the newest run on a cloud, in its data folder. */
export const runStateFile = 'experiment.json';

/** Most bytes of the file. */
export const runStateBytesMax = 256 * 1_024;

/** Writes the state of a run, completely or not at all. @param data folder of the cloud @throws Error of the file system */
export const writeRunState = (data: string, state: RunState): void =>
  put(data, runStateFile, `${JSON.stringify(state)}\n`);

/**
 * Reads the state of the newest run. Texts have no control characters and no marks of direction.
 * @returns undefined if no experiment ran on this cloud @throws Error if the file is too large, damaged, or not of this form
 */
export const readRunState = (data: string): RunState | undefined => {
  let text: string;
  try {
    text = readUserFile(join(data, runStateFile), runStateBytesMax).toString('utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return stateIn(object(JSON.parse(text)));
};

type Fields = Readonly<Record<string, unknown>>;

const stateIn = (fields: Fields): RunState => {
  const { runner, verdict, startedMs, endedMs } = fields;
  const { pid, startedAt } = object(runner);
  return {
    ...{
      title: line(fields.title),
      id: line(fields.id),
      target: line(fields.target),
      folder: line(fields.folder, 4_096),
    },
    phase: one(fields.phase, runPhases),
    sinceMs: number(fields.sinceMs),
    ...(startedMs !== undefined && { startedMs: number(startedMs) }),
    ...(endedMs !== undefined && { endedMs: number(endedMs) }),
    runner: { pid: number(pid), startedAt: line(startedAt) },
    steps: list(fields.steps, stateBounds.steps, (step) => ({
      ...{ name: line(step.name), action: line(step.action), error: line(step.error) },
      targets: texts(step.targets, 2),
      atMs: number(step.atMs),
      state: one(step.state, ['planned', 'running', 'done', 'failed']),
    })),
    stepsLeftOut: number(fields.stepsLeftOut),
    expectations: list(fields.expectations, stateBounds.conditions, ({ text, state, seen }) => ({
      ...{ text: line(text), state: one(state, ['open', 'holds', 'broken']), seen: line(seen) },
    })),
    aborts: list(fields.aborts, stateBounds.conditions, ({ text, isMet }) => ({
      text: line(text),
      isMet: isMet === true,
    })),
    problems: texts(fields.problems, stateBounds.problems),
    ...(verdict !== undefined && {
      verdict: { outcome: line(object(verdict).outcome), because: line(object(verdict).because) },
    }),
  };
};

const wrong = (): never => {
  throw new Error('it is no state of an experiment');
};

const object = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : wrong();

const line = (value: unknown, most: number = stateBounds.text): string =>
  typeof value === 'string' && value.length <= most ? visibleInLine(value) : wrong();

/** A whole number of milliseconds, a process or a count. Times after the year 9999 have no text. */
const number = (value: unknown): number =>
  typeof value === 'number' && Math.abs(value) < 253_402_300_800_000 ? value : wrong();

const one = <Name extends string>(value: unknown, names: readonly Name[]): Name =>
  names.find((name) => name === value) ?? wrong();

const array = (value: unknown, most: number): readonly unknown[] =>
  Array.isArray(value) && value.length <= most ? value : wrong();

const list = <Value>(value: unknown, most: number, read: (fields: Fields) => Value): readonly Value[] =>
  array(value, most).map((each) => read(object(each)));

const texts = (value: unknown, most: number): readonly string[] => array(value, most).map((text) => line(text));
