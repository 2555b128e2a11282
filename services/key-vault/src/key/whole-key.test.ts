import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorizeRewrap, disableKey, disableVersion, enableKey, enableVersion, remove } from './decider.ts';
import type { KeyEvent } from './events.ts';
import { evolve, exists, initial, type Key } from './key.ts';

const at = 1_000_000;
const [v1, v2, v3] = ['1', '2', '3'].map((digit) => digit.repeat(32)) as [string, string, string];
const created = (version: string): KeyEvent => ({
  type: 'KeyVersionCreated',
  digest: 'd',
  requestId: version,
  version,
  materialId: version,
  bits: 2048,
  n: 'bg',
  e: 'AQAB',
  origin: 'generated',
  enabled: true,
  operations: ['wrapKey', 'unwrapKey'],
  tags: {},
  at,
});
type Command = (key: Key) => readonly KeyEvent[];
/** A key of three versions, after the commands. */
const after = (...commands: readonly Command[]): Key => {
  let key = [v1, v2, v3].map(created).reduce(evolve, initial);
  for (const command of commands) key = command(key).reduce(evolve, key);
  return key;
};
const enabledOf = (key: Key): readonly string[] =>
  exists(key) ? Object.values(key.versions).flatMap(({ version, enabled }) => (enabled ? [version] : [])) : [];

test('KV-12: disabling a key disables each of its versions, and a repeat changes nothing', () => {
  const key = after(disableKey(at));
  assert.deepEqual(enabledOf(key), []);
  assert.deepEqual(disableKey(at)(key), []);
});

test('enabling a key enables only the versions that were disabled together with the key', () => {
  assert.deepEqual(enabledOf(after(disableKey(at), enableKey(at))), [v1, v2, v3]);
  assert.deepEqual(enabledOf(after(disableVersion(at, v1), disableKey(at), enableKey(at))), [v2, v3], 'before');
  assert.deepEqual(enabledOf(after(disableKey(at), disableVersion(at, v1), enableKey(at))), [v2, v3], 'since');
  assert.deepEqual(enabledOf(after(disableVersion(at, v1), enableKey(at))), [v2, v3]);
  const one = after(disableKey(at), enableVersion(at, v2));
  assert.deepEqual(enabledOf(one), [v2]);
  assert.deepEqual(enabledOf(after(disableKey(at), enableVersion(at, v2), disableVersion(at, v2), enableKey(at))), [
    v1,
    v3,
  ]);
  assert.deepEqual(enableKey(at)(after(disableKey(at), enableKey(at))), []);
});

test('CMK-10: disabling a key again cancels the authorizations given for its versions meanwhile', () => {
  const word = { source: v1, target: v2, principal: 'p', diskEncryptionSet: 'd', authorizedBy: 'o' };
  const key = after(disableKey(at), authorizeRewrap(at, word));
  assert.deepEqual(disableKey(at)(key), [{ type: 'RewrapAuthorizationsCancelled', version: v1, at }]);
});

test('KV-14: a deleted key can be neither disabled nor enabled', () => {
  for (const command of [disableKey(at), enableKey(at)]) {
    assert.throws(() => command(after(remove(at, at + 1))), { reason: 'KEY_DELETED' });
    assert.throws(() => command(initial), { reason: 'KEY_NOT_FOUND' });
  }
});
