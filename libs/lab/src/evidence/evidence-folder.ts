import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { isInFolder, readUserFile, UserFileError } from '@interlock/runtime';
import type { JournalLine, StepJournal } from '../engine/step-journal.ts';
import type { RunRecord } from '../record.ts';

/** Most bytes of a file of the evidence: somewhat less than a text may have in V8. */
const FILE_BYTES_MAX = 511 * 1_024 * 1_024;

/** Files of an evidence folder. */
export const evidenceFiles = {
  /** The experiment as given. */
  experiment: 'experiment.yaml',
  /** Where it runs: `recover` needs it to reach the cloud. */
  place: 'place.json',
  run: 'run.json',
  intents: 'intents.jsonl',
  steps: 'steps.jsonl',
  machines: 'machines.json',
  io: 'io.jsonl',
  sightings: 'sightings.jsonl',
  content: 'content.json',
  guarantees: 'guarantees.json',
  /** Events of the services as stored, without secrets. */
  events: 'events.jsonl',
  /** Spans of the traces of the steps; only of a run on a cloud of its own. */
  spans: 'spans.jsonl',
  verdict: 'verdict.json',
} as const;

/** A folder without the evidence of a run, or with only a part of it. */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError';
}

/**
 * Creates the evidence of a run in a new or empty folder.
 * @param text the experiment as given @param place where it runs, as plain JSON
 * @returns the journal; each line of it is on storage when it is appended
 * @throws EvidenceError if the folder holds files
 */
export const beginEvidence = (folder: string, text: string, place: unknown): StepJournal => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const [found] = readdirSync(folder);
  if (found !== undefined) {
    throw new EvidenceError(`${folder} is not empty (it has ${found}): name a new folder for the evidence`);
  }
  put(folder, evidenceFiles.experiment, text);
  put(folder, evidenceFiles.place, json(place));
  put(folder, evidenceFiles.intents, '');
  return journalIn(folder);
};

/** The journal of a run whose evidence folder exists. */
export const journalIn = (folder: string): StepJournal => ({
  append(line) {
    const path = join(folder, evidenceFiles.intents);
    // A line that a killed runner wrote in part ends here, so that it does not spoil this one.
    const isCut = existsSync(path) && !/(^|\n)$/.test(readFileSync(path, 'utf8'));
    const file = openSync(path, 'a', 0o600);
    try {
      writeSync(file, `${isCut ? '\n' : ''}${JSON.stringify(line)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  },
});

/** Writes the evidence of a run except its journal. Each file appears completely or not at all. */
export const writeEvidence = (folder: string, record: RunRecord): void => {
  const { run, steps, machines, io, sightings, content, guarantees } = record;
  put(folder, evidenceFiles.steps, jsonLines(steps));
  put(folder, evidenceFiles.machines, json(machines));
  put(folder, evidenceFiles.io, jsonLines(io));
  put(folder, evidenceFiles.sightings, jsonLines(sightings));
  put(folder, evidenceFiles.content, json(content));
  put(folder, evidenceFiles.guarantees, json(guarantees));
  // Written last: a folder with this file is complete.
  put(folder, evidenceFiles.run, json(run));
};

/** Writes another file of the evidence, completely or not at all, readable only by its owner. */
export const put = (folder: string, name: string, text: string): void => {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
};

/** The evidence of a run in a folder. */
export interface KeptRun {
  /** The experiment as given. */
  readonly text: string;
  readonly record: RunRecord;
}

/** Reads the evidence of a run. @throws EvidenceError that names the missing or damaged file, and what to do */
export const readEvidence = (folder: string): KeptRun => {
  const text = readExperimentText(folder);
  if (!existsSync(join(folder, evidenceFiles.run))) {
    throw new EvidenceError(
      `${folder} has no ${evidenceFiles.run}: its runner was ended before it wrote it. interlock experiment recover ${folder} undoes what it left`,
    );
  }
  return {
    text,
    record: {
      run: readJson(folder, evidenceFiles.run),
      steps: readLines(folder, evidenceFiles.steps),
      machines: readJson(folder, evidenceFiles.machines),
      io: readLines(folder, evidenceFiles.io),
      sightings: readLines(folder, evidenceFiles.sightings),
      content: readJson(folder, evidenceFiles.content),
      guarantees: readJson(folder, evidenceFiles.guarantees),
    },
  };
};

/** The experiment of a run as given. @throws EvidenceError if the folder holds no run */
export const readExperimentText = (folder: string): string => {
  if (!existsSync(join(folder, evidenceFiles.experiment))) {
    throw new EvidenceError(
      `${folder} holds no run: it has no ${evidenceFiles.experiment}. interlock experiment list shows the folders of runs`,
    );
  }
  return textOf(folder, evidenceFiles.experiment);
};

/** Where a run runs, as passed to `beginEvidence`. @throws EvidenceError */
export const readPlace = (folder: string): unknown => readJson(folder, evidenceFiles.place);

/** The journal of a run. An incomplete line of a killed runner is ignored: its step was not carried out. */
export const readJournal = (folder: string): readonly JournalLine[] =>
  textOf(folder, evidenceFiles.intents).split('\n').flatMap(lineOf);

const lineOf = (line: string): readonly JournalLine[] => {
  try {
    return [JSON.parse(line)];
  } catch {
    // Incomplete or empty: the end of the file.
    return [];
  }
};

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

const jsonLines = (values: readonly unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('');

const textOf = (folder: string, name: string): string => {
  const path = join(folder, name);
  try {
    // Evidence may come from elsewhere.
    if (!isInFolder(folder, path)) throw new UserFileError(`${path} is a link that leads out of the folder`);
    return readUserFile(path, FILE_BYTES_MAX).toString('utf8');
  } catch (error) {
    if (error instanceof UserFileError) throw new EvidenceError(error.message, { cause: error });
    throw new EvidenceError(`${join(folder, name)} cannot be read: the evidence is not complete`, { cause: error });
  }
};

const parsed = <Value>(folder: string, name: string, text: string): Value => {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new EvidenceError(`${join(folder, name)} is damaged: it holds no JSON`, { cause: error });
  }
};

const readJson = <Value>(folder: string, name: string): Value => parsed(folder, name, textOf(folder, name));

const readLines = <Value>(folder: string, name: string): readonly Value[] =>
  parsedLines(folder, name, textOf(folder, name));

const parsedLines = <Value>(folder: string, name: string, text: string): readonly Value[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : [parsed<Value>(folder, name, line)]));
