import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DiskHeader, encodeSlot } from '../../../services/disk/src/host/header/disk-header-format.ts';
import { HeadersOnStorage } from './headers.ts';

const headerWith = (sequence: number): DiskHeader => ({
  diskId: 'disk',
  dekId: 'dek',
  size: 2 ** 30,
  cipher: 'AES-256-XTS-4096',
  sequence,
  set: 'sets/a',
  generation: sequence,
  hostEpoch: 1,
  wrap: { keyVersion: `version ${sequence}`, algorithm: 'RSA-OAEP-256', wrapped: new Uint8Array(8) },
});

/** A volume whose first header slot can be written; the second one is empty. */
const volume = () => {
  const slots = [undefined, undefined] as [Uint8Array | undefined, Uint8Array | undefined];
  const headers = new HeadersOnStorage({ peek: (_volume, _file, sector) => slots[sector] });
  const write = (header: DiskHeader): void => {
    slots[0] = encodeSlot(header, () => new Uint8Array(32));
  };
  return { headers, write };
};

test('G6: an earlier header that returns in a crash, because its repair was lost, still counts as replaced by the fault', () => {
  const { headers, write } = volume();
  for (const sequence of [1, 2]) {
    write(headerWith(sequence));
    headers.note('v', sequence);
  }
  headers.noteReplaced('v');
  write(headerWith(1));
  assert.equal(headers.isReplaced('v'), true);
  assert.equal(headers.genuine('v')?.sequence, 2);

  write(headerWith(2));
  assert.equal(headers.isReplaced('v'), false);
  write(headerWith(1));
  assert.equal(headers.isReplaced('v'), true);
  assert.equal(headers.genuine('v')?.wrap.keyVersion, 'version 2');
});

test('G6: without a fault, a header behind its event counts as the genuine one', () => {
  const { headers, write } = volume();
  for (const sequence of [1, 2]) {
    write(headerWith(sequence));
    headers.note('v', sequence);
  }
  write(headerWith(1));
  assert.equal(headers.isReplaced('v'), false);
  assert.equal(headers.genuine('v')?.sequence, 1);
});
