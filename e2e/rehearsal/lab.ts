import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Experiment,
  problemLines,
  type RunRecord,
  readExperiment,
  type Target,
  type Verdict,
} from '@interlock/lab';
import { keptSpans } from '@interlock/lab/report/experiment/kept-spans';
import type { Span } from '@interlock/lab/spans/span-store';
import { type DataFolder, removeWhole } from '@interlock/local/data-folder.ts';
import { createScope } from '@interlock/runtime';
import { type Clients, tlsInto } from '../cloud/clients.ts';
import type { Faults } from '../experiments/cloud/cloud-lab.ts';
import { eventFeeds } from '../experiments/cloud/event-feed.ts';
import { localJournals, remoteJournals } from '../experiments/cloud/guest-journals.ts';
import { openRunningLab } from '../experiments/cloud/running-cloud.ts';
import { termsOf } from '../experiments/local/terms.ts';
import { runFile, thisRunner } from '../experiments/run-file.ts';
import type { RehearsedCloud } from './rehearsed-cloud.ts';
import { tag } from './settings.ts';

/** The experiment files of the rehearsal, in the order in which they run. */
export const experimentNames = ['the-key-is-lost', 'every-way'] as const;
export type ExperimentName = (typeof experimentNames)[number];

/** A run of one of them, with all that its report needs. */
export interface LabRun {
  readonly experiment: Experiment;
  readonly record: RunRecord;
  readonly verdict: Verdict;
  readonly spans: readonly Span[];
}

/** Runs experiments on the cloud of a rehearsal. */
export interface RehearsalLab {
  /**
   * Runs a file. A run that proves nothing is repeated, at most twice: on a busy machine a step may come too late.
   * @param clients of an owner of the keys, who may also see the machines
   * @throws Error for a file with problems
   */
  run(name: ExperimentName, clients: Clients): Promise<LabRun>;
}

const attempts = 3;

/** An experiment file of the rehearsal. @throws Error that names its problems */
export const experimentNamed = (name: ExperimentName): { readonly text: string; readonly experiment: Experiment } => {
  const file = fileURLToPath(new URL(`experiments/${name}.experiment.yaml`, import.meta.url));
  // The group of the machines has the tag of this rehearsal.
  const text = readFileSync(file, 'utf8').replace('{ group: machines }', `{ group: machines${tag} }`);
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(problemLines(file, read.problems).join('\n'));
  return { text, experiment: read.experiment };
};

/** @param out folder of the reports: evidence goes to `experiments` in it, and replaces that of an earlier rehearsal */
export const openLab = (
  cloud: RehearsedCloud,
  {
    data,
    out,
    signal,
    say,
  }: {
    readonly data: DataFolder;
    readonly out: string;
    readonly signal: AbortSignal;
    readonly say: (line: string) => void;
  },
): RehearsalLab => ({
  async run(name, clients) {
    const { text, experiment } = experimentNamed(name);
    for (let attempt = 1; ; attempt += 1) {
      const folder = join(out, 'experiments', name);
      removeWhole(folder);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const id = `${name}${tag}-${attempt}`;
      const target = targetOn(cloud, { data, clients, id });
      const place = { target: target.name, data: data.root, runner: thisRunner() };
      const run = { experiment, text, id, folder, place, target, spans: () => cloud.spans, signal, say };
      const { record, verdict } = await runFile(run);
      const { outcome } = verdict;
      const isProof = outcome === 'held' || outcome === 'violated';
      if (isProof || attempt === attempts || signal.aborted) {
        return { experiment, record, verdict, spans: keptSpans(folder) };
      }
      say(`attempt ${attempt} of ${attempts} proves nothing: ${verdict.because}`);
    }
  },
});

/** The journals of guests: in the folder of a local cloud, through compute for another one. */
export const journalsIn = ({ hosts }: RehearsedCloud, data: DataFolder, clients: Clients) =>
  hosts === undefined ? localJournals(data.path('services', 'compute', 'guests')) : remoteJournals(clients);

/** The cloud of the rehearsal as a target, reached at its addresses as its users reach it. */
const targetOn = (
  cloud: RehearsedCloud,
  { data, clients, id }: { readonly data: DataFolder; readonly clients: Clients; readonly id: string },
): Target => ({
  name: cloud.hosts === undefined ? 'existing' : 'kubernetes',
  refuse: () => [],
  async open(experiment) {
    const scope = createScope();
    const { settings, administrator } = cloud;
    const access = {
      clients,
      tls: tlsInto(cloud),
      feeds: eventFeeds(clients.messaging),
      journals: journalsIn(cloud, data, clients),
      terms: termsOf(settings),
      versions: { node: process.version, postgres: cloud.postgres.description, nats: cloud.nats.description },
      faults: noFaults,
    };
    try {
      return await openRunningLab(experiment, { access, settings, administrator }, { scope, id, keeps: true });
    } catch (error) {
      await scope.close();
      throw error;
    }
  },
});

const noFault = (): never => {
  throw new Error('a rehearsal takes keys away and disturbs no part of the cloud: run the file with another target');
};

const noFaults: Faults = {
  plan: noFault,
  carryOut: noFault,
  undo: noFault,
  disturbances: () => [],
  sightings: () => [],
  shifts: () => [],
  close: async () => {},
};
