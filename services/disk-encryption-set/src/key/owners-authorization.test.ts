import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyVault } from '../sets.ts';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import { setName, testCause } from '../testing/test-sets.ts';
import { authorizeMove } from './owners-authorization.ts';

const move = {
  sourceKeyVersion: versionOf('1'),
  targetKeyVersion: versionOf('2'),
  principal: 'principals/0198a2b4-6c1d-4e3f-8a5b-2c7d9e0f1a3b',
  diskEncryptionSet: setName,
};

/** Records the tokens that it is called with. */
const vaultThatTakes = (tokens: string[]) =>
  ({
    authorizeRewrap: async (_move: unknown, options?: { readonly token?: string }) => {
      tokens.push(options?.token ?? '');
    },
  }) as unknown as Pick<KeyVault, 'authorizeRewrap'>;

test('CMK-10: a key_owner_token that cannot be a bearer token is refused before the vault is called', async () => {
  const tokens: string[] = [];
  const vault = vaultThatTakes(tokens);
  for (const token of ['a\u0000b', '\u202eabc', 'two words', '\r\n', 'x'.repeat(100_000)]) {
    await assert.rejects(
      authorizeMove(vault, move, token, testCause),
      { code: 'INVALID_ARGUMENT', reason: 'KEY_OWNER_TOKEN_INVALID', metadata: { field: 'key_owner_token' } },
      JSON.stringify(token.slice(0, 20)),
    );
  }
  await authorizeMove(vault, move, 'eyJhbGciOi.J_9-x.~+/=', testCause);
  assert.deepEqual(tokens, ['eyJhbGciOi.J_9-x.~+/=']);
});
