import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Experiment, problemLines, readExperiment, type Target } from '@interlock/lab';
import { keptSpans } from '@interlock/lab/report/experiment/kept-spans';
import type { Span } from '@interlock/lab/spans/span-store';
import { type DataFolder, removeWhole } from '@interlock/local/data-folder.ts';
import { guestFoldersOf } from '@interlock/local/guests.ts';
import { createScope } from '@interlock/runtime';
import { type Clients, tlsInto } from '../cloud/clients.ts';
import type { Faults } from '../experiments/cloud/cloud-access.ts';
import { eventFeeds } from '../experiments/cloud/event-feed.ts';
import { localJournals, remoteJournals } from '../experiments/cloud/guest-journals.ts';
import { openRunningLab } from '../experiments/cloud/running-cloud.ts';
import { termsOf } from '../experiments/local/terms.ts';
import { type FileRunResult, runFile, runUntilProof, thisRunner } from '../experiments/run-file.ts';
import type { RehearsalOptions, RehearsedCloud } from './rehearsed-cloud.ts';
import { tag } from './settings.ts';

/** The experiment files of the rehearsal, in the order in which they run. */
export const experimentNames = ['the-key-is-lost', 'every-way'] as const;
export type ExperimentName = (typeof experimentNames)[number];

/** A run of one of them, with all that its report needs. */
export interface ExperimentRun extends FileRunResult {
  readonly experiment: Experiment;
  readonly spans: readonly Span[];
}

/** Runs experiments on the cloud of a rehearsal. */
export interface ExperimentRunner {
  /**
   * Runs a file until a run proves something.
   * @param clients of an owner of the keys, who may also see the machines
   * @throws Error for a file with problems
   */
  run(name: ExperimentName, clients: Clients): Promise<ExperimentRun>;
}

/** An experiment file of the rehearsal. @throws Error that names its problems */
export const experimentNamed = (name: ExperimentName): { readonly text: string; readonly experiment: Experiment } => {
  const file = fileURLToPath(new URL(`experiments/${name}.experiment.yaml`, import.meta.url));
  // The group of the machines has the tag of this rehearsal.
  const text = readFileSync(file, 'utf8').replace('{ group: machines }', `{ group: machines${tag} }`);
  const read = readExperiment(text);
  if ('problems' in read) throw new Error(problemLines(file, read.problems).join('\n'));
  return { text, experiment: read.experiment };
};

/** Evidence goes to `experiments` in `out`, and replaces that of an earlier rehearsal. */
export const openExperiments = (
  cloud: RehearsedCloud,
  { data, out, signal, say }: RehearsalOptions,
): ExperimentRunner => ({
  async run(name, clients) {
    const { text, experiment } = experimentNamed(name);
    const folder = join(out, 'experiments', name);
    const result = await runUntilProof({ say, signal }, (attempt) => {
      removeWhole(folder);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const id = `${name}${tag}-${attempt}`;
      const target = targetOn(cloud, { data, clients, id });
      const place = { target: target.name, data: data.root, runner: thisRunner() };
      return runFile({ experiment, text, id, folder, place, target, spans: () => cloud.spans, signal, say });
    });
    return { experiment, ...result, spans: keptSpans(folder) };
  },
});

/** The journals of guests: in the folders of a local cloud, through compute for another one. */
export const journalsIn = ({ hosts, vmHosts = 0 }: RehearsedCloud, data: DataFolder, clients: Clients) =>
  hosts === undefined ? localJournals(guestFoldersOf(data, vmHosts)) : remoteJournals(clients);

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
