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
import type { RawRecord, RunRecord } from '../record.ts';
import { manifestOf, manifestProblems, type RunIdentity, signatureProblem, signManifest } from './manifest.ts';

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
  /** Events of the services as stored, without secrets. Power records and guarantees are derived from them. */
  events: 'events.jsonl',
  /** Disturbances, settings and the judged time. */
  facts: 'facts.json',
  /** Spans of the traces of the steps; only of a run on a cloud of its own. */
  spans: 'spans.jsonl',
  /** The outcome. No evidence, because it derives from that, but the manifest covers it: `experiment list` believes it. */
  verdict: 'verdict.json',
  /** SHA-256 of each file, and what was run: an in-toto statement. */
  manifest: 'manifest.json',
  /** The statement signed, with `--sign`. */
  envelope: 'manifest.dsse.json',
} as const;

const { experiment, place, run, intents, steps, machines, io, sightings, content, events, facts } = evidenceFiles;
/** Files that the evidence of every run has. */
const needed: readonly string[] = [
  experiment,
  place,
  run,
  intents,
  steps,
  machines,
  io,
  sightings,
  content,
  events,
  facts,
];

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
  const { run, steps, machines, io, sightings, content, raw } = record;
  put(folder, evidenceFiles.steps, jsonLines(steps));
  // Power and starts derive from the events: a copy could say something else.
  put(folder, evidenceFiles.machines, json(machines.map((one) => ({ ...one, power: [], starts: [] }))));
  put(folder, evidenceFiles.events, jsonLines(raw?.events ?? []));
  put(folder, evidenceFiles.facts, json(raw?.facts ?? {}));
  put(folder, evidenceFiles.io, jsonLines(io));
  put(folder, evidenceFiles.sightings, jsonLines(sightings));
  put(folder, evidenceFiles.content, json(content));
  // Written last: a folder with this file is complete.
  put(folder, evidenceFiles.run, json(run));
};

/**
 * Writes the manifest of the evidence in a folder, and of its verdict if it has one; after it, a changed file is found.
 * @param signWith private key in PEM, Ed25519 @throws Error for another key
 */
export const sealEvidence = (folder: string, identity: RunIdentity, signWith?: string | Buffer): void => {
  const names = [...needed, evidenceFiles.spans, evidenceFiles.verdict].filter((name) =>
    existsSync(join(folder, name)),
  );
  const files = new Map(names.map((name) => [name, readUserFile(join(folder, name), FILE_BYTES_MAX)]));
  const manifest = json(manifestOf(files, identity));
  put(folder, evidenceFiles.manifest, manifest);
  if (signWith !== undefined) put(folder, evidenceFiles.envelope, json(signManifest(Buffer.from(manifest), signWith)));
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
  /** Without power records and guarantees: those derive from `raw`. Missing, empty or changed files are problems of the run. */
  readonly record: RunRecord;
}

const presentIn =
  (folder: string) =>
  (name: string): Buffer | undefined =>
    existsSync(join(folder, name)) ? Buffer.from(bytesIn(folder, name)) : undefined;

/**
 * What of the evidence is missing, empty or was changed since the run, as texts. The verdict is no part of it: see `verdictChangesIn`.
 * @throws EvidenceError if a file cannot be read
 */
export const changesIn = (folder: string): readonly string[] =>
  problemsIn(folder, (named) => [...needed, ...named.filter((name) => name !== evidenceFiles.verdict)]);

/**
 * Why the kept verdict is not proved to be that of the run, as texts: it is missing, empty, changed, or not in the manifest.
 * @throws EvidenceError if a file cannot be read
 */
export const verdictChangesIn = (folder: string): readonly string[] =>
  problemsIn(folder, () => [evidenceFiles.verdict]);

const problemsIn = (folder: string, namesOf: (named: readonly string[]) => readonly string[]): readonly string[] => {
  const bytesOf = presentIn(folder);
  return manifestProblems(bytesOf(evidenceFiles.manifest)?.toString('utf8'), bytesOf, namesOf);
};

/**
 * Reads the evidence of a run.
 * @param verifyWith public key in PEM, Ed25519, that must have signed it
 * @throws EvidenceError if the folder holds no run, or its runner was ended; Error for another key
 */
export const readEvidence = (folder: string, verifyWith?: string | Buffer): KeptRun => {
  const text = readExperimentText(folder);
  const bytesOf = presentIn(folder);
  const manifest = bytesOf(evidenceFiles.manifest);
  const unsigned =
    verifyWith === undefined
      ? undefined
      : signatureProblem(manifest, bytesOf(evidenceFiles.envelope)?.toString('utf8'), verifyWith);
  const problems = [...changesIn(folder), ...(unsigned === undefined ? [] : [unsigned])];
  if (manifest === undefined && !existsSync(join(folder, evidenceFiles.run))) {
    throw new EvidenceError(
      `${folder} has no ${evidenceFiles.run}: its runner was ended before it wrote it. interlock experiment recover ${folder} undoes what it left`,
    );
  }
  /** What is left of a file: what cannot be read is a problem of the run, and named. */
  const orElse = <Value>(read: () => Value, otherwise: Value): Value => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof EvidenceError)) throw error;
      problems.push(error.message);
      return otherwise;
    }
  };
  const lines = <Value>(name: string): readonly Value[] => orElse(() => readLines<Value>(folder, name), []);
  const one = <Value>(name: string, otherwise: Value): Value => orElse(() => readJson<Value>(folder, name), otherwise);
  const run = one<RunRecord['run']>(evidenceFiles.run, noFacts);
  const raw = { events: lines<RawRecord['events'][number]>(evidenceFiles.events), facts: one(evidenceFiles.facts, {}) };
  const record: RunRecord = {
    run,
    steps: lines(evidenceFiles.steps),
    machines: one(evidenceFiles.machines, []),
    io: lines(evidenceFiles.io),
    sightings: lines(evidenceFiles.sightings),
    content: one(evidenceFiles.content, { disksCompared: 0, bytesCompared: 0, bytesLost: 0 }),
    guarantees: [],
    raw,
  };
  return { text, record: { ...record, run: { ...run, problems: [...run.problems, ...problems] } } };
};

const noFacts: RunRecord['run'] = { id: '', target: 'local', seed: 0, problems: [], versions: {} };

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

const textOf = (folder: string, name: string): string => bytesIn(folder, name).toString('utf8');

const bytesIn = (folder: string, name: string): Buffer => {
  const path = join(folder, name);
  try {
    // Evidence may come from elsewhere.
    if (!isInFolder(folder, path)) throw new UserFileError(`${path} is a link that leads out of the folder`);
    return Buffer.from(readUserFile(path, FILE_BYTES_MAX));
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

/** A file of the evidence that holds JSON. @throws EvidenceError if it cannot be read or holds something else */
export const readJson = <Value>(folder: string, name: string): Value => parsed(folder, name, textOf(folder, name));

const readLines = <Value>(folder: string, name: string): readonly Value[] =>
  parsedLines(folder, name, textOf(folder, name));

const parsedLines = <Value>(folder: string, name: string, text: string): readonly Value[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : [parsed<Value>(folder, name, line)]));
