import { visibleInLine } from '@interlock/runtime';
import type { ExistingMachines, Experiment, Problem } from '../experiment.ts';
import type { Plan } from '../timeline/concerns.ts';
import { checkConcerned, checkContradictions, checkGivenBack, conditionsOf, proofsOf, steadyOf } from './conditions.ts';
import { type DocumentKind, readDocument } from './document.ts';
import { checkRoles, estateOf } from './estate.ts';
import { checkExisting } from './existing.ts';
import { checkOverlaps } from './overlaps.ts';
import { problemsOf } from './problems.ts';
import { searchOf } from './search.ts';
import { settingLinesOf, settingsOf } from './settings.ts';
import { shapeOf } from './shape.ts';
import { stepsOf } from './steps.ts';

/** A validated experiment, or all problems of its file by line. */
export type ReadExperiment = { readonly experiment: Experiment } | { readonly problems: readonly Problem[] };

/** Seed of a file without one. */
const SEED = 1;

/** Some 3,000 steps. */
const kind: DocumentKind = {
  what: 'an experiment',
  charactersMax: 256 * 1_024,
  start: 'Start with title, estate, timeline and expect.',
};

/**
 * Reads an experiment file. Nothing is started and no other file is read.
 * @param text YAML as `experiment.schema.json` describes it
 * @param existing the machines of `existing: {group: …}`, if they are known: they become the groups of the experiment, and names
 *   are checked against them
 */
export function readExperiment(text: string, existing?: ExistingMachines): ReadExperiment {
  const document = readDocument(text, kind);
  if ('problems' in document) return document;
  const problems = problemsOf(document);
  const shaped = shapeOf(document, problems);
  if (shaped === undefined) return { problems: problems.found };
  const lineOf = document.lineOf.bind(document);
  const settings = settingsOf(shaped, problems);
  const stated = estateOf(shaped, problems, lineOf);
  const machines = stated.kind === 'existing' ? existing : undefined;
  const estate = machines === undefined ? stated : ({ kind: 'planned', groups: machines.groups } as const);
  const steps = stepsOf(shaped, estate, problems, lineOf);
  const plan: Plan = { estate, timeline: steps.map(({ path: _, ...step }) => step) };
  checkGivenBack(steps, plan, problems);
  checkOverlaps(steps, plan, problems);
  checkConcerned(steps, plan, problems);
  if (machines !== undefined) checkExisting(steps, machines, problems);
  checkRoles(plan, shaped, problems);
  const planned = { ...plan, settings };
  const search = searchOf(shaped, plan, problems);
  const experiment: Experiment = {
    title: shaped.raw.title,
    ...(shaped.raw.description !== undefined && { description: shaped.raw.description }),
    seed: shaped.raw.seed ?? SEED,
    settings,
    settingLines: settingLinesOf(shaped, lineOf),
    ...plan,
    steady: steadyOf(shaped, plan, problems, lineOf),
    proof: proofsOf(shaped, plan, problems, lineOf),
    abort: conditionsOf('abort', shaped, planned, problems, lineOf),
    expect: conditionsOf('expect', shaped, planned, problems, lineOf),
    ...(search !== undefined && { search }),
  };
  checkContradictions(experiment.expect, shaped, problems);
  return problems.found.length > 0 ? { problems: problems.found } : { experiment };
}

/** The problems of a file as lines of text: `friday.experiment.yaml:12: what is wrong. Cure.` */
export const problemLines = (fileName: string, problems: readonly Problem[]): readonly string[] =>
  problems.map(({ line, message, cure }) => visibleInLine(`${fileName}:${line}: ${message}. ${cure}`));
