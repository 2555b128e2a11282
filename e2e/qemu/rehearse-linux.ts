import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Experiment, readExperiment, type Verdict, verdictLines } from '@interlock/lab';
import type { SpanStore } from '@interlock/lab/spans/span-store';
import { removeWhole } from '@interlock/local/data-folder.ts';
import { ownCloudTarget } from '../experiments/local/own-cloud.ts';
import { runFile, thisRunner } from '../experiments/run-file.ts';
import { whyNoQemu } from './qemu-machines.ts';

const file = fileURLToPath(new URL('../experiments/files/linux-in-qemu.experiment.yaml', import.meta.url));

/** How often it runs if it is inconclusive. */
const attempts = 2;

/** The result of the rehearsal with a Linux. */
export interface LinuxOutcome {
  readonly outcome: Verdict['outcome'];
  /** Path of its `report.html`. */
  readonly report: string;
}

/**
 * Runs linux-in-qemu.experiment.yaml on its own cloud: a Linux boots from encrypted disks, its vault is unreachable for a while,
 * then its key is disabled and enabled again.
 * @param out folder for the evidence and the report; replaces those of an earlier run
 * @returns undefined if QEMU cannot run, after a line that gives the reason
 */
export const rehearseLinux = async (
  out: string,
  { say, signal }: { readonly say: (line: string) => void; readonly signal: AbortSignal },
): Promise<LinuxOutcome | undefined> => {
  const reason = whyNoQemu(process.env);
  if (reason !== undefined) {
    say(`\nA Linux in QEMU: ${reason}`);
    return undefined;
  }
  const text = readFileSync(file, 'utf8');
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(`${file}: ${read.problems.map(({ message }) => message).join('; ')}`);
  const { experiment } = read;
  for (let attempt = 1; ; attempt += 1) {
    say(`\n${experiment.title}`);
    removeWhole(out);
    mkdirSync(out, { recursive: true });
    const verdict = await runOnce({ experiment, text, out, say, signal });
    const report = join(out, 'report.html');
    for (const line of ['', ...verdictLines(verdict), report]) say(line);
    const { outcome } = verdict;
    // On a busy machine a boot or a step may be late: such a run proves nothing.
    if (outcome !== 'inconclusive' || attempt === attempts || signal.aborted) return { outcome, report };
  }
};

interface OneRun {
  readonly experiment: Experiment;
  readonly text: string;
  readonly out: string;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

const runOnce = async ({ experiment, text, out, say, signal }: OneRun): Promise<Verdict> => {
  // A short path, because the sockets of its servers are in it.
  const data = mkdtempSync(join(tmpdir(), 'interlock-x-'));
  const id = 'linux-in-qemu';
  let spans: SpanStore | undefined;
  const takeSpans = (store: SpanStore): void => {
    spans = store;
  };
  const { verdict } = await runFile({
    ...{ experiment, text, id, signal, say, folder: out, spans: () => spans },
    place: { target: 'local', data, runner: thisRunner() },
    target: ownCloudTarget(data, { id, say, takeSpans }),
  });
  return verdict;
};
