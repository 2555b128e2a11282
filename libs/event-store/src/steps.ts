import { type CausedBy, eventId } from './cause.ts';

/** The version of the newest event of each process of a stream, by the name of the process. */
export type Steps = Readonly<Record<string, number>>;

/** A state that knows which event each of its processes continues. */
export interface Stepping {
  readonly steps?: Steps;
}

/**
 * Lets states keep the newest event of each process, so that the next event of a process can name the one it continues.
 * @param processesOf the processes that an event starts or advances
 */
export const withSteps =
  <State extends object, Event>(
    evolve: (state: State, event: Event, version: number) => State,
    processesOf: (event: Event) => readonly string[],
  ): ((state: State & Stepping, event: Event, version: number) => State & Stepping) =>
  (state, event, version) => {
    const next = evolve(state, event, version);
    const processes = processesOf(event);
    if (processes.length === 0 && state.steps === undefined) return next;
    const steps: Record<string, number> = { ...state.steps };
    for (const process of processes) steps[process] = version;
    return { ...next, steps };
  };

/** The ids of the newest events of these processes of a stream; without processes that have not started. */
export const stepIds = (stream: string, state: Stepping, ...processes: readonly string[]): readonly string[] =>
  processes.flatMap((process) => {
    const version = state.steps?.[process];
    return version === undefined ? [] : [eventId(stream, version)];
  });

/** The same as causes of kind `step`. */
export const stepCauses = (stream: string, state: Stepping, ...processes: readonly string[]): readonly CausedBy[] =>
  stepIds(stream, state, ...processes).map((id) => ({ id, kind: 'step' }));

/** Which processes of a stream a change continues. It names their newest events as its causes, in place of those of its cause. */
export interface Continued {
  /** The process whose next step the change is. */
  readonly step?: ProcessName | undefined;
  /** The process that armed the timer which led to the change. */
  readonly timer?: ProcessName | undefined;
}

/** One process, or those that the decided events belong to. */
export type ProcessName = string | ((events: readonly unknown[]) => readonly string[]);

const namesIn = (name: ProcessName, events: readonly unknown[]): readonly string[] =>
  typeof name === 'string' ? [name] : [...new Set(name(events))];

/** The causes of a change that continues processes of its stream; undefined if it continues none, or none has started. */
export const causesIn = (
  stream: string,
  state: Stepping,
  events: readonly unknown[],
  { step, timer }: Continued,
): readonly CausedBy[] | undefined => {
  if (step !== undefined) return nonEmpty(stepCauses(stream, state, ...namesIn(step, events)));
  if (timer === undefined) return undefined;
  return nonEmpty(stepIds(stream, state, ...namesIn(timer, events)).map((id) => ({ id, kind: 'timer' })));
};

const nonEmpty = <Of>(list: readonly Of[]): readonly Of[] | undefined => (list.length === 0 ? undefined : list);
