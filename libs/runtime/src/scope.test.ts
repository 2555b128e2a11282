import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScope, ScopeError } from './scope.ts';

test('a scope closes its parts in reverse order, one after another', async () => {
  const scope = createScope();
  const closed: string[] = [];
  for (const name of ['store', 'bus', 'server']) {
    scope.defer(name, async () => {
      await new Promise(setImmediate);
      closed.push(name);
    });
  }
  assert.deepEqual(scope.open(), ['server', 'bus', 'store']);
  await Promise.all([scope.close(), scope.close()]);
  assert.deepEqual(closed, ['server', 'bus', 'store']);
  assert.deepEqual(scope.open(), []);
});

test('a part that fails to close is named in the error, and the others are closed', async () => {
  const scope = createScope();
  const closed: string[] = [];
  scope.defer('store', () => closed.push('store'));
  scope.defer('bus', () => {
    throw new Error('no connection');
  });
  await assert.rejects(scope.close(), (error) => {
    assert.ok(error instanceof ScopeError);
    assert.equal(error.errors[0].message, 'closing bus failed');
    assert.equal(error.errors[0].cause.message, 'no connection');
    return true;
  });
  assert.deepEqual(closed, ['store']);
});

test('a part that is registered while its scope closes is closed too', async () => {
  const scope = createScope();
  const closed: string[] = [];
  const slow = Promise.withResolvers<void>();
  scope.defer('slow', () => slow.promise);
  const first = scope.close();
  assert.equal(scope.signal.aborted, true);
  scope.defer('late', () => closed.push('late'));
  slow.resolve();
  await Promise.all([first, scope.close()]);
  assert.deepEqual(closed, ['late']);
});
