import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asciiHeaders } from './ascii-headers.ts';

test('a header that repeats what a client sent is ASCII: other characters are percent-encoded', () => {
  const location = 'https://localhost/subscriptions/\u00e4\u20ac/x?a=b c\r\n\ud83d';
  assert.deepEqual(asciiHeaders({ location, 'retry-after': '1' }), {
    location: 'https://localhost/subscriptions/%C3%A4%E2%82%AC/x?a=b c%0D%0A%EF%BF%BD',
    'retry-after': '1',
  });
});
