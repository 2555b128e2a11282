import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata } from 'nice-grpc-common';
import { clientAddressOf, stateClientAddress } from './client-address.ts';

const peer = '127.0.0.1:5000';

test('KV-84: a client address stated by a gateway is used only with a valid proof', () => {
  const stated = { metadata: stateClientAddress('key', '192.0.2.7'), peer };
  assert.equal(clientAddressOf('key', stated), '192.0.2.7');
  assert.equal(clientAddressOf('key', { metadata: Metadata(), peer }), peer);
  assert.equal(clientAddressOf(undefined, stated), peer);
  for (const forged of [
    '192.0.2.7',
    '192.0.2.7 ',
    '192.0.2.7 proof',
    stated.metadata.get('x-interlock-client-address')?.replace('7 ', '8 '),
  ])
    assert.throws(
      () => clientAddressOf('key', { metadata: Metadata({ 'x-interlock-client-address': forged ?? '' }), peer }),
      { reason: 'METADATA_INVALID' },
    );
  assert.throws(() => clientAddressOf('other', stated), { reason: 'METADATA_INVALID' });
});
