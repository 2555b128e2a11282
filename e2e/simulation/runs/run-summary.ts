import type { Result } from './play-process.ts';
import type { RunOptions } from './run-options.ts';

/** The results of many histories. */
export interface RunSummary {
  readonly histories: number;
  readonly violations: readonly Result[];
  readonly virtualMs: number;
  readonly machines: number;
  readonly actions: number;
  readonly faultKinds: number;
  readonly revocations: number;
  readonly returns: number;
}

export const emptySummary: RunSummary = {
  histories: 0,
  violations: [],
  virtualMs: 0,
  machines: 0,
  actions: 0,
  faultKinds: 0,
  revocations: 0,
  returns: 0,
};

export const withResult = (summary: RunSummary, result: Result): RunSummary => ({
  histories: summary.histories + 1,
  violations: result.violation ? [...summary.violations, result] : summary.violations,
  virtualMs: summary.virtualMs + result.virtualMs,
  machines: summary.machines + result.machines,
  actions: summary.actions + result.actions,
  faultKinds: summary.faultKinds + result.faultKinds,
  revocations: summary.revocations + result.revocations,
  returns: summary.returns + result.returns,
});

const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

const perHistory = (sum: number, { histories }: RunSummary): string => (sum / Math.max(1, histories)).toFixed(1);

/** The speed, in one line. */
export const throughputLine = (summary: RunSummary, elapsedMs: number): string => {
  const perSecond = (amount: number): string => ((amount / Math.max(1, elapsedMs)) * 1_000).toFixed(2);
  const virtualHours = summary.virtualMs / 3_600_000;
  return `${counted(summary.histories, 'history', 'histories')} in ${(elapsedMs / 1_000).toFixed(1)} s: ${perSecond(summary.histories)} histories and ${perSecond(virtualHours)} virtual hours a second, ${counted(summary.violations.length, 'violation')}`;
};

/** The averages of a history, in one line. */
export const meansLine = (summary: RunSummary): string =>
  `a history has ${perHistory(summary.machines, summary)} machines, ${perHistory(summary.actions, summary)} actions, ` +
  `${perHistory(summary.faultKinds, summary)} kinds of fault, ${perHistory(summary.revocations, summary)} revocations, ` +
  `${perHistory(summary.returns, summary)} returns, ${perHistory(summary.virtualMs / 1_000, summary)} virtual seconds`;

/** The last line of a run, for machines. */
export const lastLine = (summary: RunSummary, elapsedMs: number, seed: number): string =>
  JSON.stringify({
    histories: summary.histories,
    perMinute: Math.round((summary.histories / Math.max(1, elapsedMs)) * 60_000),
    violations: summary.violations.length,
    seed: summary.violations[0]?.seed ?? seed,
  });

/** Lines before and after a violation that are worth reading. */
const CONTEXT_LINES = 60;

/** A violation with its log. @param chosen options that change what a seed plays */
export const violationText = (
  { seed, violation, lines = [] }: Result,
  chosen: Partial<Pick<RunOptions, 'diskHosts' | 'vmHosts'>> = {},
): string => {
  if (!violation) return '';
  const at = lines.findIndex((line) => line.includes('VIOLATION'));
  const around =
    at < 0 ? lines.slice(-CONTEXT_LINES) : lines.slice(Math.max(0, at - CONTEXT_LINES), at + CONTEXT_LINES);
  return [
    `seed ${seed}: ${violation.guarantee} does not hold at ${(violation.atMs / 1_000).toFixed(3)} s`,
    `  expected: ${violation.expected}`,
    `  actual:   ${violation.actual}`,
    ...around.map((line) => `  ${line}`),
    `Again, with its whole log: npm run simulate -- --seed ${seed}${optionText('disk-hosts', chosen.diskHosts)}${optionText('vm-hosts', chosen.vmHosts)}`,
  ].join('\n');
};

const optionText = (name: string, count: number | undefined): string =>
  count === undefined ? '' : ` --${name} ${count}`;
