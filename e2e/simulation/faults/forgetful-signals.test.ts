import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { installForgetfulSignals } from './forgetful-signals.ts';

const native = { Controller: AbortController, Signal: AbortSignal };
installForgetfulSignals();
const forgetful = { Controller: AbortController, Signal: AbortSignal };

/** Node's own signals and ours must pass the same tests. */
for (const [name, { Controller, Signal }] of Object.entries({ native, forgetful })) {
  test(`${name} signals: abort calls each listener once, in order, and no removed listener`, () => {
    const controller = new Controller();
    const { signal } = controller;
    const told: string[] = [];
    const one = () => told.push(`one ${signal.aborted}`);
    const gone = () => told.push('gone');
    const removed = () => told.push('removed meanwhile');
    const remover = () => signal.removeEventListener('abort', removed);
    for (const listener of [one, gone, remover, removed, one])
      signal.addEventListener('abort', listener, { once: true });
    signal.addEventListener('abort', { handleEvent: ({ type }) => told.push(type) });
    signal.removeEventListener('abort', gone);
    assert.equal(signal.aborted, false);
    signal.throwIfAborted();
    controller.abort('why');
    controller.abort('again');
    signal.addEventListener('abort', () => told.push('after it'));
    assert.deepEqual(told, ['one true', 'abort']);
    assert.deepEqual([signal.aborted, signal.reason], [true, 'why']);
    assert.throws(
      () => signal.throwIfAborted(),
      (error) => error === 'why',
    );
  });

  test(`${name} signals: without a reason the reason is an AbortError, the same one each time`, () => {
    const controller = new Controller();
    assert.equal(typeof controller.signal.reason, 'undefined');
    controller.abort();
    const { reason } = controller.signal;
    assert.equal(reason?.name, 'AbortError');
    assert.equal(controller.signal.reason, reason);
    assert.equal(Signal.abort('at once').reason, 'at once');
  });

  test(`${name} signals: a combined signal aborts with the first of its sources, and has its reason`, () => {
    const [a, b] = [new Controller(), new Controller()];
    const any = Signal.any([a.signal, b.signal]);
    let told = 0;
    any.addEventListener('abort', () => {
      told += 1;
    });
    assert.equal(any.aborted, false);
    b.abort('b');
    a.abort('a');
    assert.deepEqual([any.aborted, any.reason, told], [true, 'b', 1]);
    assert.equal(Signal.any([new Controller().signal, a.signal]).reason, 'a');
    assert.equal(Signal.any([new Controller().signal]).aborted, false);
  });

  test(`${name} signals: a combined signal and its listeners are garbage-collected with its sources, without an abort`, async () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    if (typeof collect !== 'function') throw new Error('there is no way to collect garbage');
    const remembered: WeakRef<object>[] = [];
    // As a killed process leaves it: it waits for an event that never comes.
    const wait = (): void => {
      const world = { name: 'a world' };
      const killed = Signal.any([new Controller().signal, new Controller().signal]);
      killed.addEventListener('abort', () => world.name);
      remembered.push(new WeakRef(world));
    };
    for (let worlds = 0; worlds < 10; worlds += 1) wait();
    const isLeft = (): boolean => remembered.some((ref) => ref.deref() !== undefined);
    for (let round = 0; round < 20 && isLeft(); round += 1) {
      await nextTurn();
      collect();
    }
    assert.equal(isLeft(), false);
  });
}

test('an aborted combined signal removes its listeners from its other sources', () => {
  const [long, short] = [new AbortController(), new AbortController()];
  let listeners = 0;
  const { addEventListener, removeEventListener } = long.signal;
  long.signal.addEventListener = (...args) => {
    listeners += 1;
    addEventListener.apply(long.signal, args);
  };
  long.signal.removeEventListener = (...args) => {
    listeners -= 1;
    removeEventListener.apply(long.signal, args);
  };
  AbortSignal.any([long.signal, short.signal]);
  assert.equal(listeners, 1);
  short.abort();
  assert.equal(listeners, 0);
});
