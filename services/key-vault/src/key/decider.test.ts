import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import {
  authorizeRewrap,
  createVersion,
  disableKey,
  disableVersion,
  enableKey,
  enableVersion,
  publishDates,
  purge,
  purgeWithVault,
  recover,
  remove,
  restore,
  rotate,
  setDates,
  setOperations,
  setTags,
  versionMadeBy,
} from './decider.ts';
import type { KeyEvent, RewrapAuthorization, VersionAttributes, VersionMaterial } from './events.ts';
import { dueTime, evolve, exists, initial, type Key, versionOf } from './key.ts';

const at = 1_000_000;
const later = at + 86_400_000;
const v1 = '1'.repeat(32);
const v2 = '2'.repeat(32);
const material = (version: string): VersionMaterial => ({
  version,
  materialId: `vaults/a/keys/k/versions/${version}`,
  bits: 2048,
  n: 'bg',
  e: 'AQAB',
  origin: 'generated',
});
const plain: VersionAttributes = { enabled: true, operations: ['wrapKey', 'unwrapKey'], tags: { a: 'b' } };
const asked = (requestId: string, digest = 'd') => ({ requestId, digest });
const created = (version: string, requestId: string, attributes: Partial<VersionAttributes> = {}): KeyEvent => ({
  type: 'KeyVersionCreated',
  ...asked(requestId),
  ...material(version),
  ...plain,
  ...attributes,
  at,
});
const fold = (events: readonly KeyEvent[]): Key => events.reduce(evolve, initial);
type Command = (key: Key) => readonly KeyEvent[];
const given = (...events: KeyEvent[]) => ({ when: (command: Command) => command(fold(events)) });
const one = created(v1, 'r1');
const two = created(v2, 'r2');
const deleted: KeyEvent = { type: 'KeyDeleted', purgeAt: later, at };
const purged: KeyEvent = { type: 'KeyPurged', at };
const word: RewrapAuthorization = {
  source: v1,
  target: `vaults/b/keys/t/versions/${v2}`,
  principal: 'principals/set',
  diskEncryptionSet: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d',
  authorizedBy: 'principals/owner',
};

test('KV-03: creating under an existing name adds a version, which is current; a repeated request adds none', () => {
  assert.deepEqual(given().when(createVersion(at, asked('r1'), { ...material(v1), ...plain })), [one]);
  const key = fold([one, two]);
  assert.ok(exists(key));
  assert.equal(key.current, v2);
  assert.deepEqual(Object.keys(key.versions), [v1, v2]);
  assert.deepEqual(given(one).when(createVersion(at, asked('r1'), { ...material(v2), ...plain })), []);
  assert.equal(versionMadeBy(fold([one]), asked('r1'))?.version, v1);
});

test('a request id that is reused for other content is refused', () => {
  const other = asked('r1', 'another digest');
  const isUsed = { code: 'ALREADY_EXISTS', reason: 'REQUEST_ID_USED' };
  assert.throws(() => given(one).when(createVersion(at, other, { ...material(v2), ...plain })), isUsed);
  assert.throws(() => given(one).when(rotate(at, other, material(v2))), isUsed);
  assert.throws(() => versionMadeBy(fold([one]), other), isUsed);
});

test('KV-04: disabling the current version does not make an older one current', () => {
  const [disabled] = given(one, two).when(disableVersion(at, v2));
  assert.ok(disabled);
  const key = fold([one, two, disabled]);
  assert.ok(exists(key));
  assert.equal(key.current, v2);
});

test('KV-05: enable, disable and dates act on one version, delete on all', () => {
  const key = fold([one, two, ...given(one, two).when(disableVersion(at, v1))]);
  assert.equal(versionOf(key, v1)?.enabled, false);
  assert.equal(versionOf(key, v2)?.enabled, true);
  assert.equal(fold([one, two, deleted]).status, 'deleted');
  assert.throws(() => given(one).when(disableVersion(at, v2)), { reason: 'KEY_VERSION_NOT_FOUND' });
});

test('KV-06: no event after the creation of a version changes its material', () => {
  const before = versionOf(fold([one]), v1);
  const changed = fold([
    one,
    { type: 'KeyVersionDatesSet', version: v1, expiresAt: later, at },
    { type: 'KeyTagsSet', version: v1, tags: {}, at },
    { type: 'KeyOperationsSet', version: v1, operations: [], at },
    deleted,
    { type: 'KeyRecovered', at },
  ]);
  const now = versionOf(changed, v1);
  assert.ok(before && now);
  for (const member of ['materialId', 'bits', 'n', 'e', 'origin'] as const) assert.equal(now[member], before[member]);
});

test('KV-14, KV-64: a deleted key refuses changes, and its name cannot be reused', () => {
  for (const command of [enableVersion(at, v1), setTags(at, v1, {}), rotate(at, asked('r9'), material(v2))]) {
    assert.throws(() => given(one, deleted).when(command), { code: 'NOT_FOUND', reason: 'KEY_DELETED' });
  }
  const request = createVersion(at, asked('r9'), { ...material(v2), ...plain });
  assert.throws(() => given(one, deleted).when(request), { code: 'ALREADY_EXISTS', reason: 'KEY_NAME_HELD' });
  assert.throws(() => given(one, deleted).when(restore(at, 'r9', [])), { reason: 'KEY_NAME_HELD' });
});

test('KV-15: the name of a purged key is free, and its old versions are remembered as purged', () => {
  assert.throws(() => given(one, deleted, purged).when(enableVersion(at, v1)), { reason: 'KEY_NOT_FOUND' });
  assert.deepEqual(given(one, deleted, purged).when(createVersion(at, asked('r2'), { ...material(v2), ...plain })), [
    two,
  ]);
  const again = fold([one, deleted, purged, two]);
  assert.ok(again.status === 'active');
  assert.deepEqual(again.purgedVersions, [v1]);
});

test('KV-27: recover brings all versions back as they were', () => {
  const disabled: KeyEvent = { type: 'KeyVersionDisabled', version: v1, at };
  const before = fold([one, two, disabled]);
  const back = fold([one, two, disabled, deleted, ...given(one, two, disabled, deleted).when(recover(at))]);
  assert.ok(exists(before) && back.status === 'active');
  assert.deepEqual(back.versions, before.versions);
  assert.throws(() => given().when(recover(at)), { reason: 'KEY_NOT_FOUND' });
  const gone = { code: 'NOT_FOUND', reason: 'KEY_PURGED' };
  assert.throws(() => given(one, deleted, purged).when(recover(at)), gone);
});

test('KV-28, KV-63, KV-94: a key is purged only after a delete, and under purge protection only after its retention', () => {
  assert.throws(() => given(one).when(purge(at, false)), { reason: 'KEY_NOT_DELETED' });
  assert.throws(() => given().when(purge(at, false)), { reason: 'KEY_NOT_FOUND' });
  assert.deepEqual(given(one, deleted).when(purge(at, false)), [purged]);
  assert.throws(() => given(one, deleted).when(purge(later - 1, true)), { reason: 'PURGE_PROTECTED' });
  assert.deepEqual(given(one, deleted).when(purge(later, true)), [{ type: 'KeyPurged', at: later }]);
});

test('KV-33: a rotation makes a current version of the same size, operations and tags, and leaves the older one as it is', () => {
  const narrow = created(v1, 'r1', { operations: ['wrapKey'], enabled: false, expiresAt: later });
  const made = given(narrow).when(rotate(at, asked('r2'), material(v2)));
  assert.deepEqual(made, [created(v2, 'r2', { operations: ['wrapKey'] })], 'nothing else changes');
  const after = fold([narrow, ...made]);
  assert.equal(after.status === 'active' && after.current, v2);
  assert.deepEqual(versionOf(after, v1), versionOf(fold([narrow]), v1));
  assert.throws(() => given(narrow).when(rotate(at, asked('r2'), { ...material(v2), bits: 3072 })), {
    code: 'ABORTED',
    reason: 'CONTENTION',
  });
});

test('an expiry is recorded once and only for an enabled version; a new expiry date is due again', () => {
  const ending = created(v1, 'r1', { expiresAt: later });
  assert.equal(dueTime(fold([ending])), later);
  assert.deepEqual(given(ending).when(publishDates(later - 1)), []);
  const told = given(ending).when(publishDates(later));
  assert.deepEqual(told, [{ type: 'KeyVersionExpired', version: v1, expiresAt: later, at: later }]);
  assert.deepEqual(given(ending, ...told).when(publishDates(later + 1)), []);
  const moved = given(ending, ...told).when(setDates(later, v1, { expiresAt: later + 5 }));
  assert.equal(dueTime(fold([ending, ...told, ...moved])), later + 5);
  const disabled: KeyEvent = { type: 'KeyVersionDisabled', version: v1, at };
  assert.deepEqual(given(ending, disabled).when(publishDates(later)), []);
});

test('KV-13: a future start of validity is recorded once when it comes; one that is moved to the past is not', () => {
  const ahead = created(v1, 'r1', { notBefore: later, expiresAt: later + 9 });
  assert.equal(dueTime(fold([ahead])), later);
  assert.deepEqual(given(ahead).when(publishDates(later - 1)), []);
  const told = given(ahead).when(publishDates(later));
  assert.deepEqual(told, [{ type: 'KeyVersionBegan', version: v1, notBefore: later, expiresAt: later + 9, at: later }]);
  assert.deepEqual(given(ahead, ...told).when(publishDates(later + 1)), []);
  assert.equal(dueTime(fold([ahead, ...told])), later + 9);
  const moved = given(ahead).when(setDates(at, v1, { notBefore: at }));
  assert.equal(dueTime(fold([ahead, ...moved])), undefined);
  const disabled: KeyEvent = { type: 'KeyVersionDisabled', version: v1, at };
  assert.equal(dueTime(fold([ahead, disabled])), undefined);
});

test('an expiry date set in the past is recorded by the change of dates alone', () => {
  const set = given(one).when(setDates(at, v1, { expiresAt: at - 1_000 }));
  assert.equal(set.length, 1);
  assert.deepEqual(given(one, ...set).when(publishDates(at)), []);
});

test("a later disable or delete of the source, also a repeated one, cancels the owner's authorization", () => {
  const disabled: KeyEvent = { type: 'KeyVersionDisabled', version: v1, at };
  const given1 = given(one, disabled).when(authorizeRewrap(at, word));
  assert.deepEqual(given1, [{ type: 'RewrapAuthorized', ...word, at }]);
  const words = (...events: KeyEvent[]) => {
    const key = fold([one, disabled, ...given1, ...events]);
    return exists(key) ? key.authorizations.length : undefined;
  };
  assert.equal(words(), 1);
  assert.equal(words(deleted), 0);
  assert.equal(words({ type: 'KeyVersionEnabled', version: v1, at }, disabled), 0);
  assert.equal(words(...given(one, disabled, ...given1).when(disableVersion(at, v1))), 0);
  const onDeleted = [one, deleted, ...given(one, deleted).when(authorizeRewrap(at, word))];
  const repeated = given(...onDeleted).when(remove(at, later));
  assert.deepEqual(repeated, [{ type: 'RewrapAuthorizationsCancelled', at }]);
  assert.throws(() => given(one, deleted, purged).when(authorizeRewrap(at, word)), { reason: 'KEY_PURGED' });
});

test('KV-29: a backup is restored only under a free name; restored versions are no longer listed as purged', () => {
  const version = { ...material(v1), ...plain, createdAt: at, updatedAt: at };
  assert.throws(() => given(one).when(restore(at, 'r9', [version])), { reason: 'KEY_ALREADY_EXISTS' });
  const restored = given(one, deleted, purged).when(restore(at, 'r9', [version]));
  const key = fold([one, deleted, purged, ...restored]);
  assert.ok(key.status === 'active');
  assert.deepEqual([key.current, key.purgedVersions], [v1, []]);
  assert.deepEqual(given(one, deleted, purged, ...restored).when(restore(at, 'r9', [version])), []);
});

const instant = fc.integer({ min: at - 5, max: later + 5 });
const version = fc.constantFrom(v1, v2, '3'.repeat(32));
const requestId = fc.constantFrom('r1', 'r2', 'r3');
const attributes = fc.record({
  enabled: fc.boolean(),
  operations: fc.constantFrom(['wrapKey', 'unwrapKey'] as const, [] as const),
  tags: fc.constantFrom({}, { a: 'b' }),
});
const dates = fc.constantFrom(
  {},
  { notBefore: later - 1, expiresAt: later + 1 },
  { expiresAt: later },
  { notBefore: at, expiresAt: at + 10 },
  { expiresAt: at },
);
const restorable = { ...material(v1), ...plain, createdAt: at, updatedAt: at };
const command: fc.Arbitrary<Command> = fc.oneof(
  fc
    .tuple(instant, requestId, version, attributes)
    .map(([t, r, v, a]) => createVersion(t, asked(r), { ...material(v), ...a })),
  fc.tuple(instant, requestId, version).map(([t, r, v]) => rotate(t, asked(r), material(v))),
  fc.tuple(instant, version).map(([t, v]) => enableVersion(t, v)),
  fc.tuple(instant, version).map(([t, v]) => disableVersion(t, v)),
  instant.map((t) => disableKey(t)),
  instant.map((t) => enableKey(t)),
  fc.tuple(instant, version, dates).map(([t, v, d]) => setDates(t, v, d)),
  fc.tuple(instant, version, attributes).map(([t, v, a]) => setOperations(t, v, a.operations)),
  fc.tuple(instant, version, attributes).map(([t, v, a]) => setTags(t, v, a.tags)),
  instant.map((t) => publishDates(t)),
  instant.map((t) => remove(t, later)),
  instant.map((t) => recover(t)),
  fc.tuple(instant, fc.boolean()).map(([t, p]) => purge(t, p)),
  instant.map((t) => purgeWithVault(t)),
  fc.tuple(instant, requestId).map(([t, r]) => restore(t, r, [restorable])),
  fc.tuple(instant, version).map(([t, v]) => authorizeRewrap(t, { ...word, source: v })),
);
const attempt = (decide: Command, key: Key): readonly KeyEvent[] => {
  try {
    return decide(key);
  } catch (error) {
    if (error instanceof Rejection) return [];
    throw error;
  }
};
const history = fc.array(command, { maxLength: 25 }).map((commands) => {
  const past: KeyEvent[] = [];
  for (const next of commands) past.push(...attempt(next, fold(past)));
  return past;
});

test('a repeated command decides nothing, after any history', () => {
  fc.assert(
    fc.property(history, command, (past, decide) => {
      const decided = attempt(decide, fold(past));
      assert.deepEqual(attempt(decide, fold([...past, ...decided])), []);
    }),
    { numRuns: 1_000 },
  );
});

test('evolve never throws and never loses the current version, whatever the order of events', () => {
  fc.assert(
    fc.property(fc.array(history, { maxLength: 4 }), (pasts) => {
      const key = fold(pasts.flat());
      if (exists(key)) assert.ok(versionOf(key, key.current));
    }),
    { numRuns: 500 },
  );
});

test('a state survives the trip through JSON with its versions in order', () => {
  fc.assert(
    fc.property(history, (past) => {
      const key = fold(past);
      const back: Key = JSON.parse(JSON.stringify(key));
      assert.deepEqual(back, key);
      if (exists(key) && exists(back)) assert.deepEqual(Object.keys(back.versions), Object.keys(key.versions));
    }),
  );
});
