import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { experimentOf, runOnTestLab, step } from '../engine/test-lab.ts';
import {
  beginEvidence,
  EvidenceError,
  evidenceFiles,
  journalIn,
  readEvidence,
  readJournal,
  readPlace,
  sealEvidence,
  writeEvidence,
} from './evidence-folder.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-evidence-'));
after(() => rmSync(root, { recursive: true }));

test('written evidence is read back unchanged', async () => {
  const folder = join(root, 'whole', 'run');
  const journal = beginEvidence(folder, 'title: one\n', { target: 'local' });
  const { record, lines } = await runOnTestLab(experimentOf([step('loss', 0, { forMs: 100 })]));
  for (const line of lines) journal.append(line);
  const raw = { events: [{ service: 'compute', type: 'VmStarted' }], facts: { sinceMs: 1 } };
  writeEvidence(folder, { ...record, raw });
  sealEvidence(folder, { target: 'local', run: 'run-1', interlock: { version: '1', commit: 'c' } });
  const machines = record.machines.map((one) => ({ ...one, power: [], starts: [] }));
  // Guarantees and power records derive from the events.
  const kept = { ...record, machines, guarantees: [], raw };
  assert.deepEqual(readEvidence(folder), { text: 'title: one\n', record: JSON.parse(JSON.stringify(kept)) });
  assert.deepEqual(readJournal(folder), lines);
  assert.deepEqual(readPlace(folder), { target: 'local' });
});

test('an incomplete journal line of a killed runner is ignored, and later lines are read', () => {
  const folder = join(root, 'cut');
  beginEvidence(folder, 'title: one\n', {});
  journalIn(folder).append({ kind: 'undone', step: 'one', atMs: 1 });
  appendFileSync(join(folder, evidenceFiles.intents), '{"kind":"intent","undo":{"data":{}');
  assert.deepEqual(readJournal(folder), [{ kind: 'undone', step: 'one', atMs: 1 }]);
  journalIn(folder).append({ kind: 'undone', step: 'two', atMs: 2 });
  assert.deepEqual(
    readJournal(folder).map(({ step: name }) => name),
    ['one', 'two'],
  );
});

test('a folder without a complete run is refused with a message for its state', () => {
  const messageOf = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      assert.ok(error instanceof EvidenceError);
      return error.message;
    }
    return assert.fail('nothing was refused');
  };
  const begun = join(root, 'begun');
  beginEvidence(begun, 'title: one\n', {});
  assert.match(
    messageOf(() => readEvidence(begun)),
    /has no run\.json.*interlock experiment recover/,
  );
  assert.match(
    messageOf(() => readEvidence(join(root, 'absent'))),
    /holds no run/,
  );
  assert.match(
    messageOf(() => beginEvidence(begun, 'title: two\n', {})),
    /is not empty/,
  );
  writeFileSync(join(begun, evidenceFiles.run), '{');
  assert.match(readEvidence(begun).record.run.problems.join(), /manifest\.json is missing.*run\.json is damaged/);
});
