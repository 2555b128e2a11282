import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { openBackground } from './background.ts';

/** How long a piece lasts, in ms. */
const pieceMs = 50;

/** Background work in pieces of which so many are asked for, in a process whose timers come as late as it says. */
const startWork = (count: number, { guests }: { readonly guests: boolean }) => {
  const clock = virtualClock();
  const world = { lateMs: 0, underWay: 0, most: 0, done: 0 };
  const background = openBackground({
    monotonicMs: clock.monotonicMs,
    alarm: (durationMs, wake) => clock.alarm(durationMs + world.lateMs, wake),
  });
  const guestReads = (): void => {
    if (guests) background.noteGuest();
  };
  guestReads();
  const piece = async (): Promise<void> => {
    world.underWay += 1;
    world.most = Math.max(world.most, world.underWay);
    await clock.sleep(pieceMs);
    guestReads();
    world.underWay -= 1;
    world.done += 1;
  };
  const all = Promise.all(Array.from({ length: count }, () => background.run(piece)));
  return { clock, world, background, all };
};

test('where no guest is, everything asked for is under way at once', async () => {
  const { clock, world, all } = startWork(300, { guests: false });
  await clock.pass(pieceMs);
  await all;
  assert.deepEqual([world.most, world.done], [300, 300]);
});

test('where guests are, a part is under way, more while this process is on time, and all is done in the end', async () => {
  const { clock, world, all } = startWork(300, { guests: true });
  await clock.pass(0);
  assert.equal(world.underWay, 8);
  await clock.until(() => world.done === 300, 10_000);
  await all;
  assert.ok(world.most > 8, `${world.most} at most`);
});

test('a process that is late for its guests has less under way, and never nothing', async () => {
  const { clock, world, all } = startWork(600, { guests: true });
  await clock.until(() => world.underWay > 20, 10_000);
  world.lateMs = 3;
  await clock.until(() => world.underWay <= 8, 10_000);
  world.most = 0;
  await clock.until(() => world.done === 600, 10_000);
  await all;
  assert.equal(world.most, 8);
});

test('once its guests are gone, what waits is under way at once', async () => {
  const { clock, world, background, all } = startWork(1, { guests: true });
  await clock.pass(pieceMs);
  await all;
  await clock.pass(1_001);
  const pieces = Array.from({ length: 100 }, () => background.run(() => clock.sleep(pieceMs)));
  await clock.pass(pieceMs);
  await Promise.all(pieces);
  assert.equal(world.done, 1);
});

test('a piece is part of the work of whoever asked for it, whoever makes room for it', async () => {
  const clock = virtualClock();
  const background = openBackground(clock);
  background.noteGuest();
  const call = new AsyncLocalStorage<number>();
  const ofAsker = (_: unknown, n: number) =>
    call.run(n, () =>
      background.run(async () => {
        const atFirst = call.getStore();
        await clock.sleep(pieceMs);
        return [atFirst, call.getStore()];
      }),
    );
  const seen = await clock.drive(Promise.all(Array.from({ length: 100 }, ofAsker)));
  assert.deepEqual(
    seen,
    Array.from({ length: 100 }, (_, n) => [n, n]),
  );
});

test('a piece that fails makes room for the next, and its failure is its own', async () => {
  const background = openBackground(virtualClock());
  background.noteGuest();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 100 }, (_, n) =>
      background.run(async () => {
        if (n % 2 === 0) throw new Error(`piece ${n}`);
        return n;
      }),
    ),
  );
  const failed = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason.message] : []));
  assert.deepEqual(
    failed,
    Array.from({ length: 50 }, (_, n) => `piece ${2 * n}`),
  );
});
