import assert from 'node:assert/strict';
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { test } from 'node:test';
import { installLightContexts } from './light-contexts.ts';

/** Node's own contexts and ours must pass the same tests. */
for (const [name, install] of [
  ['native', () => undefined],
  ['light', installLightContexts],
] as const) {
  test(`${name} contexts: work that starts inside of run() sees the stored value; code outside does not`, async () => {
    install();
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const later = storage.run('outer', async () => {
      seen.push(storage.getStore());
      await promise;
      seen.push(storage.getStore());
      storage.run('inner', () => seen.push(storage.getStore()));
      seen.push(storage.getStore());
    });
    seen.push(storage.getStore());
    resolve();
    await later;
    seen.push(storage.getStore());
    assert.deepEqual(seen, ['outer', undefined, 'outer', 'inner', 'outer', undefined]);
  });

  test(`${name} contexts: storages are independent`, () => {
    const [a, b, c] = [
      new AsyncLocalStorage<number>(),
      new AsyncLocalStorage<number>(),
      new AsyncLocalStorage<number>(),
    ];
    const now = () => [a.getStore(), b.getStore(), c.getStore()];
    const seen = a.run(1, () =>
      b.run(2, () => c.run(3, () => [now(), a.run(4, now), b.run(5, () => b.exit(now)), now()])),
    );
    assert.deepEqual(seen, [
      [1, 2, 3],
      [4, 2, 3],
      [1, undefined, 3],
      [1, 2, 3],
    ]);
    assert.deepEqual(now(), [undefined, undefined, undefined]);
  });

  test(`${name} contexts: run() passes arguments, results and errors, and restores the earlier value after an error`, () => {
    const storage = new AsyncLocalStorage<string>();
    const thrown = new Error('thrown');
    storage.run('before', () => {
      assert.equal(
        storage.run('sum', (x: number, y: number) => x + y, 1, 2),
        3,
      );
      const fail = () =>
        storage.run('failing', () => {
          throw thrown;
        });
      assert.throws(fail, (error) => error === thrown);
      assert.equal(storage.getStore(), 'before');
    });
  });

  test(`${name} contexts: an unset storage has its default value, one set to undefined has undefined`, () => {
    const storage = new AsyncLocalStorage<string | undefined>({ defaultValue: 'by default' });
    const now = () => storage.getStore();
    assert.deepEqual(
      [now(), storage.run(undefined, now), storage.run('given', now)],
      ['by default', undefined, 'given'],
    );
  });

  test(`${name} contexts: a snapshot and a resource restore the values from where they were created`, () => {
    const [a, b] = [new AsyncLocalStorage<string>(), new AsyncLocalStorage<string>()];
    const now = () => [a.getStore(), b.getStore()];
    const { snapshot, resource } = a.run('a', () =>
      b.run('b', () => ({ snapshot: AsyncLocalStorage.snapshot(), resource: new AsyncResource('test') })),
    );
    const seen = a.run('other', () => [snapshot(now), resource.runInAsyncScope(now), now()]);
    assert.deepEqual(seen, [
      ['a', 'b'],
      ['a', 'b'],
      ['other', undefined],
    ]);
  });
}
