import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type JournalEntry, openJournal } from '../guest/journal.ts';
import { readJournalPage } from './guest-journal.ts';

const entry = (seq: number): JournalEntry => ({
  ...{ disk: 'd', op: 'write', offset: 0, length: 4_096, seq, ok: true },
  ...{ invokedAt: seq, completedAt: seq, invokedMonotonicMs: seq, completedMonotonicMs: seq },
});

const folderOf = (t: { after(work: () => void): void }): string => {
  const folder = mkdtempSync(join(tmpdir(), 'journal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'io.jsonl');
};

/** Reads all entries after a position. */
const readAll = (path: string, after: string, limit: number) => {
  const numbers: number[] = [];
  for (let at = after; ; ) {
    const page = readJournalPage(path, at, limit);
    assert.ok(page.entries.length <= limit);
    numbers.push(...page.entries.map(({ seq }) => seq));
    at = page.readTo;
    if (page.isEnd) return { numbers, readTo: at };
  }
};

test('a journal is read in pages, and a reader continues where it stopped', (t) => {
  const path = folderOf(t);
  assert.deepEqual(readJournalPage(path, '', 10), { entries: [], readTo: '', isEnd: true, hasGap: false });
  const journal = openJournal(path);
  for (const seq of [1, 2, 3, 4, 5]) journal.append(entry(seq));
  const first = readAll(path, '', 2);
  assert.deepEqual(first.numbers, [1, 2, 3, 4, 5]);
  appendFileSync(path, '{"disk":"d","op":"wri');
  assert.deepEqual(readAll(path, first.readTo, 2), { numbers: [], readTo: first.readTo });
  appendFileSync(path, '\n');
  journal.append(entry(6));
  assert.deepEqual(readAll(path, first.readTo, 2).numbers, [6]);
});

test('a reader continues when a new file starts; a reader that is too late learns that entries are missing', (t) => {
  const path = folderOf(t);
  const lineBytes = JSON.stringify(entry(1)).length + 1;
  const journal = openJournal(path, 4 * lineBytes);
  for (const seq of [1, 2, 3]) journal.append(entry(seq));
  const { readTo } = readAll(path, '', 100);
  for (const seq of [4, 5, 6]) journal.append(entry(seq));
  assert.deepEqual(readAll(path, readTo, 100).numbers, [4, 5, 6]);
  for (const seq of [7, 8, 9, 10]) journal.append(entry(seq));
  const late = readJournalPage(path, readTo, 100);
  assert.equal(late.hasGap, true);
  assert.deepEqual(
    late.entries.map(({ seq }) => seq),
    [5, 6, 7, 8],
  );
});
