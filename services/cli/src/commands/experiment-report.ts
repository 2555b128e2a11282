import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { EvidenceError, evidenceFiles, problemLines, readEvidence, readExperiment, verdictOfRun } from '@interlock/lab';
import { judgedAgain } from '@interlock/lab/judge/recording/raw-record';
import { keptSpans } from '@interlock/lab/report/experiment/kept-spans';
import { reportPage } from '@interlock/lab/report/experiment/report-page';
import { cellsOf } from '@interlock/lab/report/matrix/cells-of';
import { matrixPage } from '@interlock/lab/report/matrix/matrix-page';
import { UsageError } from '../problems.ts';
import type { OfflineParts } from './runner.ts';

/**
 * Writes a page from kept evidence: of one run, or of all runs below a folder as a matrix of causes, classes and faults.
 * @param file undefined: `report.html` or `matrix.html` in the folder
 * @throws UsageError if the folder holds no whole run
 */
export async function reportFolder(
  folder: string,
  file: string | undefined,
  { terminal }: OfflineParts,
): Promise<void> {
  const isOne = existsSync(join(folder, evidenceFiles.experiment));
  const page = file ?? join(folder, isOne ? 'report.html' : 'matrix.html');
  const { text, says } = isOne ? pageOfRun(folder) : pageOfRuns(folder, page);
  await terminal.writeFile(page, pieces(text));
  terminal.out(`${page}: ${says}`);
}

function pageOfRun(folder: string): { readonly text: string; readonly says: string } {
  const { experiment, record, verdict } = judged(folder);
  return { text: reportPage(experiment, record, verdict, keptSpans(folder)), says: verdict.outcome };
}

function pageOfRuns(folder: string, page: string): { readonly text: string; readonly says: string } {
  const folders = existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith(evidenceFiles.run))
        .map((path) => dirname(join(folder, path)))
    : [];
  if (folders.length === 0) throw new UsageError(`${folder} holds no run: name a folder of experiment run --keep`);
  const runs = folders
    .map((one) => ({ ...judged(one), report: relative(dirname(page), join(one, 'report.html')) }))
    .toSorted((a, b) => (a.record.run.startedMs ?? 0) - (b.record.run.startedMs ?? 0));
  const cells = cellsOf(runs);
  return { text: matrixPage(cells, basename(resolve(folder))), says: `${runs.length} runs in ${cells.length} cells` };
}

/** The verdict is repeated: nothing but evidence is trusted. @throws UsageError */
function judged(folder: string) {
  try {
    const { text, record } = readEvidence(folder);
    const read = readExperiment(text);
    if ('problems' in read) throw new UsageError(problemLines(folder, read.problems).join('\n'));
    const whole = judgedAgain(record);
    return { experiment: read.experiment, record: whole, verdict: verdictOfRun(read.experiment, whole) };
  } catch (error) {
    if (error instanceof EvidenceError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
