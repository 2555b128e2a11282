import type { Step } from '../experiment.ts';
import type { StepRecord } from '../record.ts';
import type { Effect, Lab, Undo } from '../target.ts';
import { isUndoable } from '../timeline/actions.ts';
import { type JournalLine, type StepJournal, undoOrder } from './step-journal.ts';

/** How late a step may be invoked; a later one makes the run inconclusive. In milliseconds. */
export const latenessMsMax = 500;

/** What an actor works with. */
export interface ActorParts {
  readonly lab: Pick<Lab, 'clock' | 'plan' | 'carryOut' | 'undo'>;
  readonly journal: StepJournal;
  /** Receives progress, line by line. */
  readonly say: (line: string) => void;
  /** Receives the reasons why the run cannot be trusted. */
  readonly report: (problem: string) => void;
}

/** A started step. `settled` resolves when it was carried out, or failed. */
interface Started {
  readonly step: Step;
  readonly undo: Undo;
  readonly settled: Promise<void>;
  /** Its undo, once it has started. */
  undone?: Promise<void>;
}

/** When and how a step is undone. */
interface UndoPlan {
  /** By the wall clock of the lab. */
  readonly plannedMs: number;
  /** Name of the `give-back` step; absent for an undo after `for`, or at the end of the run. */
  readonly giveBack?: string;
  /** Also starts machines that the step stopped. */
  readonly start: boolean;
}

type OpenRecord = { -readonly [Field in keyof StepRecord]: StepRecord[Field] };

/** The fields of a step record that are known before the step is invoked. */
type Planned = Pick<StepRecord, 'name' | 'action' | 'targets' | 'plannedMs' | 'undoes'>;

/** Carries steps out and undoes them, each once. Stores the intent before a step and records planned and actual times. */
export class Actor {
  readonly #parts: ActorParts;
  readonly #plans = new Map<string, Undo>();
  readonly #started = new Map<string, Started>();
  readonly #records: OpenRecord[] = [];

  constructor(parts: ActorParts) {
    this.#parts = parts;
  }

  /** Steps and undos that were invoked, in that order. */
  get records(): readonly StepRecord[] {
    return this.#records;
  }

  /**
   * Reads what the undo of each step needs, before any fault. So a stopped service delays no injection, and an undo restores the
   * state before the experiment.
   * @throws Error of the target
   */
  async plan(steps: readonly Step[]): Promise<void> {
    for (const step of steps) this.#plans.set(step.name, await this.#parts.lab.plan(step));
  }

  /**
   * Carries out a planned step, after undos of the same action on the same targets that began before: an undo that comes after it
   * would take it back. Resolves when that is done or has failed; a failure is a problem of the run.
   * @throws Error if the intent cannot be stored; the step is not carried out then
   */
  carryOut(step: Step, plannedMs: number): Promise<void> {
    const undo = this.#plans.get(step.name);
    if (undo === undefined) throw new Error(`the step ${step.name} was not planned`);
    const { lab, journal } = this.#parts;
    const { name, action, targets } = step;
    const atMs = lab.clock.now();
    journal.append({ kind: 'intent', step: name, atMs, undo });
    const earlier = this.#undosOfSame(step);
    const work = async (): Promise<void> => {
      if (earlier.length > 0) await Promise.all(earlier);
      const record = await this.#invoke({ name, action, targets, plannedMs }, () => lab.carryOut(step, undo));
      const { error } = record;
      this.#store({ kind: 'done', step: name, atMs: lab.clock.now(), ...(error === undefined ? {} : { error }) });
    };
    const settled = work();
    this.#started.set(name, { step, undo, settled });
    return settled;
  }

  /** Undos that began, of steps with the same action and a target in common. */
  #undosOfSame({ action, targets }: Step): readonly Promise<void>[] {
    return [...this.#started.values()]
      .filter(({ step }) => step.action === action && step.targets.some((target) => targets.includes(target)))
      .flatMap(({ undone }) => undone ?? []);
  }

  /** Undoes a step once it is settled. Does nothing if it was never started; a second call waits for the first. */
  undo(of: string, how: UndoPlan): Promise<void> {
    const started = this.#started.get(of);
    if (started === undefined) return Promise.resolve();
    started.undone ??= this.#undo(started, how);
    return started.undone;
  }

  /** Undoes all outstanding steps, parts of the cloud first, then the last step first. @param start also starts machines that a step stopped */
  async undoAll(start: boolean): Promise<void> {
    const left = [...this.#started.values()].flatMap(({ step, undone }) =>
      undone === undefined && isUndoable(step.action) ? [step] : [],
    );
    for (const step of undoOrder(left)) {
      await this.undo(step.name, { plannedMs: this.#parts.lab.clock.now(), start });
    }
    await Promise.all([...this.#started.values()].map(({ undone }) => undone));
  }

  async #undo({ step, undo, settled }: Started, { plannedMs, giveBack, start }: UndoPlan): Promise<void> {
    const { lab } = this.#parts;
    const isSlow = this.#records.some(({ name, doneMs }) => name === step.name && doneMs === undefined);
    await settled;
    const { targets, name: undoes } = step;
    const named =
      giveBack === undefined ? { name: `undo ${undoes}`, action: 'undo' } : { name: giveBack, action: 'give-back' };
    // An undo cannot come before its step is done: that is not the runner's delay.
    const dueMs = isSlow ? Math.max(plannedMs, lab.clock.now()) : plannedMs;
    const record = await this.#invoke({ ...named, targets, undoes, plannedMs: dueMs }, () => lab.undo(undo, start));
    if (record.error === undefined) this.#store({ kind: 'undone', step: step.name, atMs: lab.clock.now() });
  }

  /** Appends to the journal. If that fails, steps are still undone. */
  #store(line: JournalLine): void {
    try {
      this.#parts.journal.append(line);
    } catch (error) {
      this.#parts.report(`the journal cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #invoke(planned: Planned, work: () => Promise<Effect>): Promise<StepRecord> {
    const { lab, say, report } = this.#parts;
    const record: OpenRecord = { ...planned, invokedMs: lab.clock.now() };
    this.#records.push(record);
    const lateMs = record.invokedMs - planned.plannedMs;
    say(planned.name);
    if (lateMs > latenessMsMax)
      report(`${planned.name} was invoked ${Math.round(lateMs)} ms late; ${latenessMsMax} ms are allowed`);
    try {
      Object.assign(record, await work());
    } catch (error) {
      record.error = error instanceof Error ? error.message : String(error);
      report(`${planned.name} failed: ${record.error}`);
    }
    record.doneMs = lab.clock.now();
    return record;
  }
}
