import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logLines } from './log-lines.ts';

/** A file that takes this many bytes. */
const limitedFile = (room: number) => {
  const file = { room, text: '' };
  const write = (bytes: Uint8Array): number => {
    if (file.room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const taken = bytes.subarray(0, file.room);
    file.room -= taken.length;
    file.text += Buffer.from(taken).toString();
    return taken.length;
  };
  return { file, write };
};
const lossLine = (count: number): string => `${count} lost`;

test('lines without space are lost and counted, and the next lines with space are whole', () => {
  const { file, write } = limitedFile(9);
  const lines = logLines(write);
  for (const line of ['one', 'second', 'third']) lines.write(line, lossLine);
  assert.equal(file.text, 'one\nsecon');
  // Space for a part of the report only: it is repeated.
  file.room = 3;
  lines.write('fourth', lossLine);
  file.room = 1_000;
  lines.write('fifth', lossLine);
  lines.write('sixth', lossLine);
  assert.equal(file.text, 'one\nsecon\n2 \n3 lost\nfifth\nsixth\n');
});

test('another failure of the log is thrown', () => {
  const lines = logLines(() => {
    throw Object.assign(new Error('bad descriptor'), { code: 'EBADF' });
  });
  assert.throws(() => lines.write('one', lossLine), /bad descriptor/);
});
