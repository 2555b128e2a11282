import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { traceTree } from '@interlock/lab/spans/trace-tree';
import { createScope, systemClock, systemRandom } from '@interlock/runtime';
import { openOutside, tlsInto } from '../cloud/clients.ts';
import { openDataPath } from '../cloud/data-path.ts';
import { journalsIn, openExperiments } from './experiments.ts';
import { localFiles } from './files/host-files.ts';
import { remoteFiles } from './files/remote-files.ts';
import { openFindings } from './findings.ts';
import { renderPage } from './page.ts';
import type { RehearsalOptions, RehearsedCloud } from './rehearsed-cloud.ts';
import { buildReport, type Report } from './report.ts';
import { playScenario, scenarioName } from './scenario.ts';
import { secondsBetween, stepLines, summaryLines, traceLines, verdictLines } from './terminal.ts';
import { createTimeline } from './timeline.ts';
import { traceRehearsal } from './tracing.ts';
import { machines, namesIn } from './world.ts';

/** Its result: the last line of `npm start`. */
export interface RehearsalOutcome {
  readonly verdict: 'pass' | 'fail';
  readonly rules: { readonly pass: number; readonly fail: number };
  /** Path of `report.json`. */
  readonly report: string;
  /** When the first machine ran, in milliseconds since the epoch; absent if none did. */
  readonly firstMachineRanAtMs?: number;
}

/**
 * Plays the documented workflow on a new cloud, judges every rule by what the steps saw, and writes the report. A step that
 * fails is reported and fails the rules that need it; the report is still written.
 */
export const rehearse = async (cloud: RehearsedCloud, options: RehearsalOptions): Promise<RehearsalOutcome> => {
  const { data, out, signal } = options;
  const { hosts } = cloud;
  const say = (line: string) => {
    if (!signal.aborted) options.say(line);
  };
  const sayAll = (lines: readonly string[]) => {
    for (const line of lines) say(line);
  };
  const scope = createScope();
  const [clock, random] = [systemClock, systemRandom];
  const startedAtMs = clock.now();
  const since = clock.monotonicMs();
  try {
    const telemetry = traceRehearsal(cloud.spans, random);
    scope.defer('telemetry', telemetry.shutdown);
    const { tracer } = telemetry;
    const outside = openOutside(cloud, { tracer });
    scope.defer('clients', outside.close);
    const dataPath = openDataPath(tlsInto(cloud), tracer);
    scope.defer('data path', dataPath.close);
    const timeline = createTimeline({
      tracer,
      spans: cloud.spans,
      clock,
      tell: (step) => sayAll(stepLines(step, startedAtMs)),
    });
    const findings = openFindings();
    const files = hosts === undefined ? localFiles(data) : remoteFiles(hosts.addresses, hosts.tls, localFiles(data));
    const names = machines.map(({ id }) => namesIn({ cloud }).machine(id));
    const history = journalsIn(cloud, data, outside.administrator)(names).read;
    const experiments = openExperiments(cloud, {
      data,
      out,
      signal,
      say: (line) => say(`${secondsBetween(startedAtMs, clock.now())}           · ${line}`),
    });
    const { see } = findings;
    const world = { cloud, outside, dataPath, timeline, experiments, clock, random, see, signal, history, files };
    say(`\nRehearsal: ${scenarioName}`);
    const played = await playScenario(world);
    signal.throwIfAborted();
    const durationMs = clock.monotonicMs() - since;
    const report = buildReport({
      scenario: scenarioName,
      startedAtMs,
      durationMs,
      verdicts: findings.verdicts(played.problems),
      played,
      versions: versionsOf(cloud),
    });
    const { runs } = played;
    const [loss] = runs.flatMap(({ record }) => record.steps);
    if (loss?.traceId !== undefined)
      sayAll(traceLines(`How the loss “${loss.name}” travelled`, traceTree(cloud.spans, loss.traceId)));
    sayAll(verdictLines(report));
    sayAll(summaryLines(report));

    const reportFile = join(out, 'report.json');
    const pageFile = join(out, 'report.html');
    writeFileSync(reportFile, `${JSON.stringify(report, undefined, 2)}\n`, { mode: 0o600 });
    writeFileSync(pageFile, renderPage(report, runs), { mode: 0o600 });
    say(`\nThe same as a page: ${pageFile}`);
    return outcomeOf(report, reportFile);
  } finally {
    await scope.close();
  }
};

const outcomeOf = (report: Report, reportFile: string): RehearsalOutcome => {
  const { firstMachineRanAt } = report;
  return {
    verdict: report.verdict,
    rules: countOf(report),
    report: reportFile,
    ...(firstMachineRanAt === null ? {} : { firstMachineRanAtMs: Date.parse(firstMachineRanAt) }),
  };
};

const countOf = ({ rules }: Report) => ({
  pass: rules.filter(({ verdict }) => verdict === 'pass').length,
  fail: rules.filter(({ verdict }) => verdict === 'fail').length,
});

const versionsOf = ({
  postgres,
  nats,
}: Pick<RehearsedCloud, 'postgres' | 'nats'>): Readonly<Record<string, string>> => ({
  node: process.version,
  openssl: process.versions.openssl ?? '',
  postgres: postgres.description,
  nats: nats.description,
  platform: `${process.platform} ${process.arch}`,
});
