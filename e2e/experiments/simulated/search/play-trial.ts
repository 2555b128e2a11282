import {
  closenessOf,
  Evidence,
  type Experiment,
  groupsOf,
  lossesOf,
  type Played,
  parseExpression,
  type RuleVerdict,
  readExperiment,
  type Trial,
  verdictOfRun,
} from '@interlock/lab';
import { recordOf } from '../play-experiment.ts';
import { experimentSettings } from '../settings.ts';

/** Plays a trial of a search in this process. @throws Error if its file is not valid */
export const playTrial = async ({ text, seed }: Trial): Promise<Played> => {
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(`the trial is not valid: ${read.problems[0]?.message}\n${text}`);
  const { experiment } = read;
  const record = await recordOf(experiment, seed);
  const { outcome: judged, because, rules } = verdictOfRun(experiment, record);
  const violated = rules.filter((rule) => rule.result === 'violated' && canBeMet(rule, experiment)).map(nameOf);
  const outcome = judged === 'violated' && violated.length === 0 ? 'held' : judged;
  const evidence = new Evidence(experiment, record);
  return {
    outcome,
    because,
    violated: [...new Set(violated)],
    closeness: record.run.startedMs === undefined ? {} : closenessIn(experiment, evidence),
  };
};

/** Machines that nothing starts are not back, whatever the product does: a timeline that starts none does not violate `back`. */
const canBeMet = ({ kind, text }: RuleVerdict, { timeline }: Experiment): boolean =>
  kind !== 'expectation' ||
  !/\.back\b/.test(text) ||
  timeline.some(({ action, options }) => action === 'start' || options.start === true);

/** A rule without its subject, so that another machine can violate the same rule; guarantees first, as in the verdict. */
const nameOf = ({ kind, text }: RuleVerdict): string => (kind === 'guarantee' ? (text.split(' ')[0] ?? text) : text);

/** A promise that is exceeded does not count: an outage, a throttle or a pinned disk excuses it, and the judge knows whether. */
const closenessIn = (experiment: Experiment, evidence: Evidence): Played['closeness'] => {
  const promises = promisesOf(experiment);
  const limits = [...experiment.expect.map(({ text }) => text), ...promises];
  return Object.fromEntries(
    limits.flatMap((text) => {
      const parsed = parseExpression(text);
      const used = 'error' in parsed ? undefined : closenessOf(parsed.expression, evidence);
      return used === undefined || (used === 1 && promises.includes(text)) ? [] : [[text, used]];
    }),
  );
};

/** How long compute may take for a stop beyond its sweep and the shutdown of a guest, in milliseconds. */
const stopMs = 5_000;

/** What the settings promise without any event, as expectations (G1, G2). */
const promisesOf = (experiment: Experiment): readonly string[] => {
  const { cloud } = experimentSettings(experiment.settings);
  const lastMs = cloud.leases.ttlMs + cloud.authzTtlMs;
  const stoppedMs = lastMs + cloud.sweepIntervalMs + cloud.guestStopTimeoutMs + stopMs;
  return groupsOf(experiment.estate).flatMap(({ name }) =>
    lossesOf(experiment, name).length === 0
      ? [`${name}.gap <= ${cloud.leases.ttlMs}ms`]
      : [`${name}.lastGoodIo <= ${lastMs}ms`, `${name}.stopped <= ${stoppedMs}ms`],
  );
};
