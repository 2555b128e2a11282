import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EvidenceError, readEvidence, readExperiment, sealEvidence, summaryOfRun, verdictOfRun } from '@interlock/lab';
import { judgedAgain } from '@interlock/lab/judge/recording/raw-record';
import { runFile } from './run-file.ts';
import { simulatedTarget } from './simulated/target.ts';

const text = `title: "A key is disabled and given back"
settings: { leaseTtl: 2s, authzTtl: 1s, guestStopTimeout: 2s, sweepInterval: 1s }
estate:
  premium: { machines: 2, disks: [premium-ssd], key: k1 }
  ultra: { machines: 1, disks: [standard-ssd: platform, ultra], key: k1 }
  control: { machines: 1, disks: [premium-ssd], key: platform }
steady: [{ services: ready }, { io: premium, gap: 1s }]
timeline:
  - { at: 1s, disable-key: premium, as: loss }
  - { at: 6s, start: premium }
  - { at: 7s, snapshot: premium }
  - { at: 12s, give-back: loss, start: true }
proof: [{ of: loss, see: unwrap-refused, within: 5s }]
expect:
  - premium.stopped <= loss + 5s
  - premium.startRefused <= loss + 10s
  - premium.back <= 20s
  - ultra.running
  - control.failed == 0
  - bytesLost == 0
`;

const root = mkdtempSync(join(tmpdir(), 'interlock-edits-'));
after(() => rmSync(root, { recursive: true }));
const whole = join(root, 'whole');
const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});

/** The verdict of a folder, as `experiment judge` gives it. */
const verdictOf = (folder: string, verifyWith?: string): string => {
  try {
    const { text: kept, record } = readEvidence(folder, verifyWith);
    const read = readExperiment(kept);
    assert.ok('experiment' in read);
    const { outcome, because, problems } = verdictOfRun(read.experiment, judgedAgain(record));
    return [`${outcome}: ${because}`, ...problems].join('\n');
  } catch (error) {
    if (error instanceof EvidenceError) return `refused: ${error.message}`;
    throw error;
  }
};

before(async () => {
  const read = readExperiment(text);
  assert.ok('experiment' in read, JSON.stringify(read));
  await runFile({
    ...{ experiment: read.experiment, text, id: 'simulated-1', folder: whole, place: { target: 'simulated' } },
    ...{ target: simulatedTarget(1), signal: new AbortController().signal, say: () => undefined, signWith: privateKey },
  });
});

type Edit = (folder: string) => void;
const remove =
  (file: string): Edit =>
  (folder) =>
    rmSync(join(folder, file));
const empty =
  (file: string): Edit =>
  (folder) =>
    truncateSync(join(folder, file));
/** @param change of the text; it must change something */
const edit =
  (file: string, change: (content: string) => string): Edit =>
  (folder) => {
    const path = join(folder, file);
    const content = readFileSync(path, 'utf8');
    const changed = change(content);
    assert.ok(changed !== content, `${file} is not changed`);
    writeFileSync(path, changed);
  };
// biome-ignore lint/suspicious/noExplicitAny: a line of any file
const lines = (file: string, change: (line: any) => unknown): Edit =>
  edit(file, (content) =>
    content
      .trim()
      .split('\n')
      .flatMap((line) => {
        const changed = change(JSON.parse(line));
        return changed === undefined ? [] : `${JSON.stringify(changed)}\n`;
      })
      .join(''),
  );
const shift = (ms: number): Edit =>
  lines('steps.jsonl', (step) => (step.name === 'loss' ? { ...step, effectMs: step.effectMs + ms } : step));

/** What is edited, and what the verdict must say, of a folder whose manifest still has the old digests. */
const edits: readonly (readonly [string, Edit, RegExp])[] = [
  ['the events are deleted', remove('events.jsonl'), /^inconclusive[\s\S]*events\.jsonl is missing/],
  ['the events are emptied', empty('events.jsonl'), /^inconclusive[\s\S]*events\.jsonl is empty/],
  ['one event is deleted', edit('events.jsonl', (all) => all.replace(/\n[^\n]*\n/, '\n')), /events\.jsonl was changed/],
  ['t0 is 400 ms later', shift(400), /^inconclusive[\s\S]*steps\.jsonl was changed/],
  ['t0 is 400 ms earlier', shift(-400), /^inconclusive[\s\S]*steps\.jsonl was changed/],
  [
    'an expectation is weakened',
    edit('experiment.yaml', (all) => all.replace('loss + 5s', 'loss + 30s')),
    /^inconclusive[\s\S]*experiment\.yaml was changed/,
  ],
  [
    'an expectation is removed',
    edit('experiment.yaml', (all) => all.replace('  - ultra.running\n', '')),
    /^inconclusive[\s\S]*experiment\.yaml was changed/,
  ],
  ['the experiment is deleted', remove('experiment.yaml'), /^refused: .*has no experiment\.yaml/],
  ['the steps are emptied', empty('steps.jsonl'), /^inconclusive[\s\S]*steps\.jsonl is empty/],
  [
    'operations are deleted',
    lines('io.jsonl', (io) => (io.seq > 100 ? undefined : io)),
    /^inconclusive[\s\S]*io\.jsonl was changed/,
  ],
  ['the journals are deleted', remove('io.jsonl'), /^inconclusive[\s\S]*io\.jsonl is missing/],
  ['lost bytes are set to none', edit('content.json', (all) => all.replace('Compared": ', 'Compared": 9')), /changed/],
  ['sightings are deleted', remove('sightings.jsonl'), /^inconclusive[\s\S]*sightings\.jsonl is missing/],
  [
    'a problem of the run is removed',
    edit('run.json', (all) => all.replace('"seed": 1', '"seed": 2')),
    /run\.json was/,
  ],
  ['the facts of the run are deleted', remove('run.json'), /^inconclusive[\s\S]*run\.json is missing/],
  [
    'the lease time is longer',
    edit('facts.json', (all) => all.replace('"ttlMs": 2000', '"ttlMs": 9000')),
    /facts\.json/,
  ],
  ['a finding is removed', edit('facts.json', (all) => all.replace('"G8"', '"G7"')), /facts\.json was changed/],
  ['the facts are emptied', empty('facts.json'), /^inconclusive[\s\S]*facts\.json is empty/],
  ['a machine is removed', edit('machines.json', () => '[]\n'), /^inconclusive[\s\S]*machines\.json was changed/],
  ['the intents are deleted', remove('intents.jsonl'), /^inconclusive[\s\S]*intents\.jsonl is missing/],
  ['the manifest is deleted', remove('manifest.json'), /^inconclusive[\s\S]*manifest\.json is missing/],
  ['the manifest is emptied', empty('manifest.json'), /^inconclusive[\s\S]*manifest\.json is damaged/],
  [
    'the manifest leaves the events out',
    edit('manifest.json', (all) => all.replace('"events.jsonl"', '"notes.txt"')),
    /^inconclusive[\s\S]*manifest\.json was changed after the run: it does not name events\.jsonl/,
  ],
];

/** Edits whose author wrote a manifest with new digests: what the evidence itself shows. */
const resealed: readonly (readonly [string, Edit, RegExp])[] = [
  ['the events are emptied', empty('events.jsonl'), /^(vacuous|violated|inconclusive)/],
  [
    't0 is 400 ms later',
    shift(400),
    /^inconclusive[\s\S]*t0 of "loss" is not its commit: the key was lost 400 ms before it/,
  ],
  ['t0 is 60 ms earlier', shift(-60), /^inconclusive[\s\S]*t0 of "loss" is/],
  [
    'an event of a machine is deleted',
    lines('events.jsonl', (event) => (event.type === 'VmStartFailed' ? undefined : event)),
    /^(violated|inconclusive)[\s\S]*does not have every event of compute vm-[^ ]*premium-1/,
  ],
  [
    'every stop names another reason',
    edit('events.jsonl', (all) => all.replaceAll('"reason":"KEY_DISABLED"', '"reason":"KEY_DELETED"')),
    /^violated: G10/,
  ],
  [
    'the stop of a machine is that of its user',
    lines('events.jsonl', (event) => {
      const { reason: _, ...data } = event.data;
      return event.stream.endsWith('premium-1') && /^VmStopp/.test(event.type) ? { ...event, data } : event;
    }),
    /^(violated|vacuous|inconclusive)/,
  ],
  ['the operations are emptied', empty('io.jsonl'), /^(vacuous|violated|inconclusive)/],
  [
    'a snapshot was refused for another reason',
    lines('steps.jsonl', (step) => ({
      ...step,
      ...(step.refused && {
        // biome-ignore lint/suspicious/noExplicitAny: a line of any file
        refused: step.refused.map((one: any) => ({ ...one, reason: 'KEY_EXPIRED' })),
      }),
    })),
    /^violated: G10 snapshot-premium[\s\S]*refused for KEY_EXPIRED; expected: why .* was lost: KEY_DISABLED/,
  ],
  [
    'a snapshot was refused before the loss',
    lines('steps.jsonl', (step) => ({
      ...step,
      ...(step.refused && {
        // biome-ignore lint/suspicious/noExplicitAny: a line of any file
        refused: step.refused.map((one: any) => ({ ...one, atMs: one.atMs - 6_500 })),
      }),
    })),
    /^violated: G10 snapshot-premium[\s\S]*it was not lost/,
  ],
  [
    'the commit of the loss is another event',
    edit('events.jsonl', (all) => all.replace('"type":"KeyVersionDisabled"', '"type":"KeyVersionTagged"')),
    /^(violated|inconclusive)/,
  ],
];

const folderOf = (title: string, change: Edit): string => {
  const folder = join(root, title.replaceAll(' ', '-'));
  cpSync(whole, folder, { recursive: true });
  change(folder);
  return folder;
};

describe('edited evidence does not get the verdict `held`', () => {
  test('unchanged evidence gets it, and its signature is proved', () => {
    assert.match(verdictOf(whole), /^held/);
    assert.match(verdictOf(whole, publicKey), /^held/);
    const kept = JSON.parse(readFileSync(join(whole, 'verdict.json'), 'utf8'));
    assert.equal(kept.outcome, 'held');
  });

  test('the manifest covers the verdict, and the evidence is judged without it', () => {
    assert.deepEqual(summaryOfRun(whole).verdictChanges, []);
    const edited = folderOf(
      'the outcome is edited',
      edit('verdict.json', (all) => all.replace('"held"', '"violated"')),
    );
    const { outcome, verdictChanges } = summaryOfRun(edited);
    assert.deepEqual([outcome, verdictChanges], ['violated', ['verdict.json was changed after the run']]);
    assert.match(verdictOf(edited), /^held/);
    assert.match(verdictOf(folderOf('the outcome is removed', remove('verdict.json')), publicKey), /^held/);
  });

  test('there are at least 20 edits', () => assert.ok(edits.length >= 20));

  for (const [title, change, expected] of edits)
    test(title, () => {
      const verdict = verdictOf(folderOf(title, change));
      assert.doesNotMatch(verdict, /^held/);
      assert.match(verdict, expected);
    });

  for (const [title, change, expected] of resealed)
    test(`${title}, with a new manifest`, () => {
      const folder = folderOf(`resealed ${title}`, change);
      const identity = { target: 'simulated', run: 'x', interlock: { version: '0', commit: '0' } };
      sealEvidence(folder, identity);
      const verdict = verdictOf(folder);
      assert.doesNotMatch(verdict, /^held/);
      assert.match(verdict, expected);
      assert.match(verdictOf(folder, publicKey), /manifest\.json is not the one that was signed/);
    });

  test('a signature of another key, none, or a key of another kind', () => {
    const other = generateKeyPairSync('ed25519', {
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    assert.match(verdictOf(whole, other.publicKey), /^inconclusive[\s\S]*has no signature of that key/);
    const unsigned = folderOf('unsigned', remove('manifest.dsse.json'));
    assert.match(verdictOf(unsigned), /^held/);
    assert.match(verdictOf(unsigned, publicKey), /^inconclusive[\s\S]*the evidence is not signed/);
    const rsa = generateKeyPairSync('rsa', {
      modulusLength: 2_048,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    assert.throws(() => readEvidence(whole, rsa.publicKey), /the key must be Ed25519, not rsa/);
  });
});
