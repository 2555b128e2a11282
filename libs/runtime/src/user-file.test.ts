import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isInFolder, pathInFolder, pathPart, readUserFile, UserFileError } from './user-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const own = join(folder, 'own');
writeFileSync(own, 'text');

const refusal = (path: string, bytesMax?: number): string => {
  try {
    readUserFile(path, bytesMax);
  } catch (error) {
    assert.ok(error instanceof UserFileError, String(error));
    return error.message;
  }
  return 'read';
};

test('reads regular files, also one whose size the system does not know', () => {
  assert.equal(readUserFile(own).toString(), 'text');
  assert.match(readUserFile('/proc/self/status').toString(), /^Name:/);
});

test('refuses devices, pipes, sockets and folders at once, and says what they are', async (t) => {
  assert.match(refusal('/dev/zero'), /^\/dev\/zero is a device; only regular files are read/);
  assert.match(refusal(folder), /is a folder/);
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  assert.match(refusal(pipe), /is a pipe/);
  const link = join(folder, 'link');
  symlinkSync('/dev/zero', link);
  assert.match(refusal(link), /is a device/);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
  t.after(() => server.close());
  assert.throws(() => readUserFile(join(folder, 'socket')), /ENXIO|is a socket/);
});

test('refuses more bytes than allowed, also of a file that grows while it is read', () => {
  assert.match(refusal(own, 3), /own has more than 3 bytes/);
  assert.equal(refusal(own, 4), 'read');
  assert.match(refusal('/proc/self/status', 5), /more than 5 bytes/);
});

test('a path from data stays in its folder', () => {
  assert.equal(pathInFolder('/a', 'run-1/traces.jsonl'), '/a/run-1/traces.jsonl');
  assert.equal(pathInFolder('/a', '..b'), '/a/..b');
  for (const name of ['', '.', '..', '../evil', 'x/../../evil', '/etc/passwd', 'x/..', 'a\0b', '..\\evil'])
    assert.throws(() => pathInFolder('/a', name), UserFileError, name);
  assert.deepEqual(['a/../b', '..', '', 'disk', 'key vault\n'].map(pathPart), [
    'a-..-b',
    '-',
    '-',
    'disk',
    'key-vault-',
  ]);
});

test('a link counts as the file that it leads to', () => {
  const inner = join(folder, 'inner');
  mkdirSync(inner);
  symlinkSync(own, join(inner, 'out'));
  writeFileSync(join(inner, 'in'), '');
  assert.deepEqual([isInFolder(inner, join(inner, 'in')), isInFolder(inner, join(inner, 'out'))], [true, false]);
});
