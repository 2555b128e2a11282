import { type Document, parseDocument, YAMLSeq } from 'yaml';
import { findCause } from '../causes/causes.ts';
import type { Experiment } from '../experiment.ts';
import { whyUnfit } from '../expressions/can-fail.ts';
import { checkExpression } from '../expressions/check.ts';
import { durationText } from '../expressions/duration.ts';
import { readExperiment } from '../file/read-experiment.ts';
import { synonyms } from '../file/shape.ts';
import { takesAccess } from '../timeline/actions.ts';
import { giveBackOf, groupsOf, keyOfTarget, keysOf } from '../timeline/concerns.ts';
import type { Candidate, Move, Trial } from './candidate.ts';

/** Sections of the file that speak of its own timeline. */
const ofTimeline: readonly string[] = ['timeline', 'rollback', 'proof', 'abort', 'expect', 'search', 'matrix'];

/** The moves of the file's own timeline. */
export const movesOf = (experiment: Experiment): readonly Move[] =>
  experiment.timeline.flatMap((step): readonly Move[] => {
    const { name, action, targets, atMs, options } = step;
    if (action === 'give-back') return [];
    const back = giveBackOf(experiment, step);
    const forMs = step.forMs ?? (back === undefined ? undefined : Math.max(1, back.atMs - atMs));
    const start = back?.options.start === true;
    return [{ name, action, targets, atMs, ...(forMs !== undefined && { forMs }), start, options }];
  });

/** By time, without moves whose cause needs another permission model of the vault than an earlier one. */
const withOneModel = (moves: readonly Move[], { estate }: Pick<Experiment, 'estate'>): readonly Move[] => {
  const modelOf = new Map<string, string>();
  return moves
    .toSorted((a, b) => a.atMs - b.atMs)
    .filter(({ action, targets }) => {
      const { model } = findCause(action) ?? {};
      if (model === undefined) return true;
      const key = keyOfTarget(estate, targets[0] ?? '');
      const first = modelOf.get(key) ?? model;
      modelOf.set(key, first);
      return first === model;
    });
};

/** Makes experiment files of candidates, each with what the file of the search has: estate, settings, steady checks, expectations. */
export class Trials {
  readonly #experiment: Experiment;
  readonly #text: string;

  /** @param text of the experiment, with its estate inside */
  constructor(experiment: Experiment, text: string) {
    this.#experiment = experiment;
    this.#text = text;
  }

  /**
   * The candidate as a file of its own, without the moves that a file cannot have beside earlier ones, for example the same fault twice
   * at the same time. Expectations that its timeline does not concern, or that no run of it can break, are left out.
   * @throws Error if the file is not valid for another reason
   */
  trialOf({ moves, seed }: Candidate): Trial {
    const possible = [...withOneModel(moves, this.#experiment)];
    const document = this.#without(seed);
    for (;;) {
      const steps = this.#stepsOf(possible);
      const { text, read } = readWith(document, steps);
      if ('experiment' in read)
        return { text: this.#withExpectations(document, read.experiment), moves: possible, seed };
      const [problem] = read.problems;
      const firstLine = text.split('\n').indexOf('timeline:') + 2;
      const move = steps[(problem?.line ?? 0) - firstLine]?.move;
      if (move === undefined) throw new Error(`a timeline of the search is not valid: ${problem?.message}\n${text}`);
      possible.splice(possible.indexOf(move), 1);
    }
  }

  /** The file with this move alone; undefined if it is not valid. */
  experimentWith(move: Move): Experiment | undefined {
    const { read } = readWith(this.#without(this.#experiment.seed), this.#stepsOf([move]));
    return 'experiment' in read ? read.experiment : undefined;
  }

  #withExpectations(document: Document, plan: Experiment): string {
    const fitting = this.#experiment.expect.filter(
      ({ expression }) => checkExpression(expression, plan).length === 0 && whyUnfit(expression, plan) === undefined,
    );
    if (fitting.length > 0) document.set('expect', document.createNode(fitting.map(({ text }) => text)));
    const text = document.toString({ lineWidth: 0 });
    document.delete('expect');
    return text;
  }

  /** The file without its timeline and what speaks of it. */
  #without(seed: number): Document {
    const document = parseDocument(this.#text);
    const all = [...ofTimeline, ...Object.keys(synonyms).filter((name) => ofTimeline.includes(synonyms[name] ?? ''))];
    for (const name of all) document.delete(name);
    document.set('seed', seed);
    return document;
  }

  /** Steps as they are written, with their give-backs, by time. */
  #stepsOf(moves: readonly Move[]): readonly WrittenStep[] {
    const names = this.#namesOf(moves);
    const steps = moves.flatMap((move, n): readonly WrittenStep[] => {
      const { action, targets, atMs, forMs, start, options } = move;
      const { by, ...others } = options;
      const name = names[n];
      const step: RawStep = {
        at: durationText(atMs),
        [action]: targets.length === 1 ? targets[0] : targets,
        ...others,
        ...(by !== undefined && { by: durationText(Number(by)) }),
        ...(name !== undefined && { as: name }),
        ...(forMs !== undefined && !start && { for: durationText(forMs) }),
      };
      if (forMs === undefined || !start) return [{ move, ms: atMs, step }];
      const endMs = atMs + forMs;
      const back: RawStep = { at: durationText(endMs), 'give-back': name, start: true };
      return [
        { move, ms: atMs, step },
        { move, ms: endMs, step: back },
      ];
    });
    return steps.toSorted((a, b) => a.ms - b.ms);
  }

  /** Names of steps: those of the file, each once, and new ones for losses, because give-backs need them. */
  #namesOf(moves: readonly Move[]): readonly (string | undefined)[] {
    const { estate, timeline } = this.#experiment;
    const taken = new Set([
      ...groupsOf(estate).map(({ name }) => name),
      ...keysOf({ estate, timeline }),
      ...timeline.map(({ name }) => name),
    ]);
    const used = new Set<string>();
    return moves.map(({ name, action }) => {
      let found = name !== undefined && !used.has(name) ? name : undefined;
      for (let n = 1; found === undefined && takesAccess(action); n += 1)
        if (!taken.has(`loss-${n}`)) found = `loss-${n}`;
      if (found !== undefined) used.add(found);
      if (found !== undefined) taken.add(found);
      return found;
    });
  }
}

type RawStep = Readonly<Record<string, unknown>>;

interface WrittenStep {
  readonly move: Move;
  readonly ms: number;
  readonly step: RawStep;
}

/** Reads a file with these steps, one in each line. */
const readWith = (document: Document, steps: readonly WrittenStep[]) => {
  const list = new YAMLSeq();
  list.items = steps.map(({ step }) => document.createNode(step, { flow: true }));
  document.set('timeline', list);
  const text = document.toString({ lineWidth: 0 });
  return { text, read: readExperiment(text) };
};
