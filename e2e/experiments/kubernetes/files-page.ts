import { basename } from 'node:path';
import { type Experiment, type Problem, problemLines, readExperiment, readMatrix } from '@interlock/lab';
import { filesLike, textOf } from '../../docs/sources.ts';
import { lineOf } from '../../docs/table.ts';
import { render } from '../../kubernetes/render.ts';
import {
  type ClusterFacts,
  factsOf,
  missingSettings,
  refusedInCluster,
  unpausableSteps,
  withoutQemu,
} from './cluster-refusals.ts';

/** The page with the table of the experiment files, and the heading above it. */
export const filesPage = 'docs/how-to/write-an-experiment.md';
const heading = '## Files for a cluster\n';

/** A file of the repository, and what a cloud in a cluster refuses of it. */
export interface ShippedFile {
  /** Without `.experiment.yaml`. */
  readonly name: string;
  readonly experiment: Experiment;
  /** What no cluster can do. */
  readonly never: readonly Problem[];
  /** Pauses that the pods do not allow. */
  readonly pauses: readonly Problem[];
  /** Settings that the cloud has otherwise. */
  readonly settings: readonly Problem[];
}

/** The facts of the default overlay, `deploy/kubernetes/overlays/local`. @throws LauncherError if kubectl is missing */
export const defaultFacts = async (): Promise<ClusterFacts> => {
  const objects = await render('local');
  const shared = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'interlock-settings');
  const workloads = objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  return factsOf(shared, workloads as readonly object[] as readonly Readonly<Record<string, unknown>>[]);
};

/** Every experiment file of the repository, on a cloud with these facts. */
export const shippedFiles = (facts: ClusterFacts): readonly ShippedFile[] =>
  filesLike(/^e2e\/experiments\/files\/.*\.experiment\.yaml$/).map((path) => {
    const text = textOf(path);
    const read = readExperiment(text);
    if ('problems' in read) throw new Error(problemLines(path, read.problems).join('\n'));
    const { experiment } = read;
    const matrix: readonly Problem[] =
      readMatrix(text) === undefined ? [] : [{ line: 1, message: 'a matrix needs --target simulated', cure: '' }];
    return {
      name: basename(path, '.experiment.yaml'),
      experiment,
      never: [...matrix, ...refusedInCluster(experiment), ...withoutQemu(experiment, facts)],
      pauses: unpausableSteps(experiment, facts),
      settings: missingSettings(experiment, facts),
    };
  });

/** Whether a cloud accepts the file as it is. */
export const isAccepted = ({ never, pauses, settings }: ShippedFile): boolean =>
  never.length + pauses.length + settings.length === 0;

const needsOf = (file: ShippedFile): string => {
  if (file.never.length > 0) return `never: ${file.never[0]?.message}`;
  if (isAccepted(file)) return '**as it is**';
  return [
    ...(file.pauses.length > 0 ? ['with `overlays/chaos`'] : []),
    ...(file.settings.length > 0 ? ['with its settings'] : []),
  ].join(' and ');
};

/** The page with the table of the files. */
export const withFiles = (page: string, files: readonly ShippedFile[]): string => {
  const from = page.indexOf('| File |', page.indexOf(heading));
  const to = page.indexOf('\n\n', from);
  if (from < 0 || to < 0) throw new Error(`${filesPage} lacks its table under "${heading.trim()}"`);
  const order = (file: ShippedFile): number => (isAccepted(file) ? 0 : file.never.length > 0 ? 2 : 1);
  const rows = files
    .toSorted((one, other) => order(one) - order(other))
    .map((file) => lineOf([`\`${file.name}\``, needsOf(file)]));
  return (
    page.slice(0, from) +
    ['| File | Runs on the default overlay |', '| --- | --- |', ...rows].join('\n') +
    page.slice(to)
  );
};
