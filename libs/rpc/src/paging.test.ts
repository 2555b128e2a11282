import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedVersion, pageOf, pageToken } from './paging.ts';

test('a page has the requested size, 50 by default, and at most 1,000', () => {
  const limitOf = (pageSize: number) => pageOf({ pageSize, pageToken: '' });
  assert.deepEqual([0, 1, 1_000, 1_001].map(limitOf), [
    { limit: 50 },
    { limit: 1 },
    { limit: 1_000 },
    { limit: 1_000 },
  ]);
  assert.throws(() => limitOf(-1), { code: 'INVALID_ARGUMENT', reason: 'PAGE_SIZE_INVALID' });
});

test('a page token holds the key after which the next page starts; the last page has none', () => {
  const key = 'subscriptions/s1/resourceGroups/g/disks/d_1.a-b';
  assert.deepEqual(pageOf({ pageSize: 7, pageToken: pageToken(key) }), { limit: 7, after: key });
  assert.equal(pageToken(undefined), '');
});

test('a forged page token is refused', () => {
  const made = (text: string | Uint8Array) => Buffer.from(text as string).toString('base64url');
  const forged = [
    ...['!', 'a', `${pageToken('key')}=`, pageToken('key').slice(0, -1), ' '],
    ...['\0', 'key\0', 'key\r', 'kéy', '\u001fkey'].map(made),
    made(Uint8Array.of(0xff, 0xfe)),
  ];
  for (const token of forged) {
    assert.throws(
      () => pageOf({ pageSize: 0, pageToken: token }),
      {
        code: 'INVALID_ARGUMENT',
        reason: 'PAGE_TOKEN_INVALID',
        metadata: { field: 'page_token' },
      },
      JSON.stringify(token),
    );
  }
});

test('an etag is a stream version or empty; any other text is refused', () => {
  assert.deepEqual(expectedVersion(''), {});
  assert.deepEqual(expectedVersion('12'), { expected: 12 });
  for (const etag of ['-1', '1.5', '0x1', ' 1', '1 ', 'newest', '"1"', '1234567890123456']) {
    assert.throws(() => expectedVersion(etag), { code: 'INVALID_ARGUMENT', reason: 'ETAG_INVALID' }, etag);
  }
});
