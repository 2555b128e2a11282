import assert from 'node:assert/strict';
import { test } from 'node:test';
import { currentCall, runAsCall } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import { Background } from './background.ts';

/** Duration of a piece, in ms. */
const pieceMs = 50;

/** Duration of a piece that runs while others start and end, in ms. */
const longMs = 100_000;

/** Requests `count` pieces of background work in a process whose timers fire as late as `lateMsOf` says. */
const startWork = (
  count: number,
  { guests, lastsMs = () => pieceMs }: { readonly guests: boolean; readonly lastsMs?: (n: number) => number },
) => {
  const clock = virtualClock();
  const world = {
    /** How late the nth check of the event loop fires, in ms. */
    lateMsOf: (_look: number): number => world.lateMs,
    lateMs: 0,
    looks: 0,
    begun: 0,
    underWay: 0,
    most: 0,
    done: 0,
  };
  const background = new Background({
    monotonicMs: clock.monotonicMs,
    alarm: (durationMs, wake) => {
      world.looks += 1;
      return clock.alarm(durationMs + world.lateMsOf(world.looks), wake);
    },
  });
  const guestReads = (): void => {
    if (guests) background.noteGuest();
  };
  guestReads();
  const piece = async (): Promise<void> => {
    const n = world.begun;
    world.begun += 1;
    world.underWay += 1;
    world.most = Math.max(world.most, world.underWay);
    await clock.sleep(lastsMs(n));
    guestReads();
    world.underWay -= 1;
    world.done += 1;
  };
  const ask = (more: number): Promise<unknown> =>
    Promise.all(Array.from({ length: more }, () => background.run(piece)));
  /** Lets time pass while guests keep reading. */
  const passWithGuests = async (durationMs: number): Promise<void> => {
    for (let leftMs = durationMs; leftMs > 0; leftMs -= 10) {
      background.noteGuest();
      await clock.pass(Math.min(10, leftMs));
    }
  };
  return { clock, world, background, ask, passWithGuests, all: ask(count) };
};

test('without guests, all requested pieces run at once', async () => {
  const { clock, world, all } = startWork(300, { guests: false });
  await clock.pass(pieceMs);
  await all;
  assert.deepEqual([world.most, world.done], [300, 300]);
});

test('with guests, 32 pieces run at first and more while the event loop is on time, until all are done', async () => {
  const { clock, world, all } = startWork(300, { guests: true });
  await clock.pass(0);
  assert.equal(world.underWay, 32);
  await clock.until(() => world.done === 300, 10_000);
  await all;
  assert.ok(world.most > 32, `${world.most} at most`);
});

test('a late event loop reduces the running pieces to 32, and all are still done', async () => {
  const { clock, world, all, passWithGuests } = startWork(2_000, { guests: true });
  await clock.until(() => world.underWay > 40, 10_000);
  world.lateMs = 3;
  await passWithGuests(4 * pieceMs);
  world.most = 0;
  await clock.until(() => world.done === 2_000, 20_000);
  await all;
  assert.equal(world.most, 32);
});

test('with guests, pieces start in batches, and after each batch comes a rest as long as it took', async () => {
  const { world, passWithGuests } = startWork(300, { guests: true });
  await passWithGuests(pieceMs);
  assert.deepEqual([world.begun, world.done], [32, 32]);
  await passWithGuests(pieceMs - 1);
  assert.equal(world.begun, 32, 'the rest is for the guests');
  await passWithGuests(1);
  assert.ok(world.begun >= 64, `${world.begun} have begun`);
});

test('the next batch does not wait for a slow quarter of a batch, but it waits for more than a quarter', async () => {
  for (const [held, begun] of [
    [8, 56],
    [9, 32],
  ] as const) {
    const { world, passWithGuests } = startWork(300, {
      guests: true,
      lastsMs: (n) => (n < 32 - held ? 10 : longMs),
    });
    await passWithGuests(9);
    assert.equal(world.begun, 32);
    await passWithGuests(12);
    assert.equal(world.begun, begun, `${held} are held up`);
  }
});

test('pieces requested long after the last batch ended start at once', async () => {
  const { world, ask, passWithGuests } = startWork(40, { guests: true });
  await passWithGuests(500);
  assert.equal(world.done, 40);
  void ask(40);
  await passWithGuests(1);
  assert.ok(world.underWay >= 32, `${world.underWay} under way`);
});

test('the limit rises by one for every four timely checks of the event loop in a row', async () => {
  const { world, passWithGuests } = startWork(1_000, { guests: true });
  await passWithGuests(800);
  // Eight times 50 ms of work, with five checks and one more piece each, and as much rest: 12 more than the 32.
  assert.ok(world.most >= 40 && world.most <= 44, `${world.most} at most`);
});

test('the limit does not rise if every third check is late', async () => {
  const { world, passWithGuests } = startWork(1_000, { guests: true });
  world.lateMsOf = (look) => (look % 3 === 0 ? 3 : 0);
  await passWithGuests(2_000);
  assert.equal(world.most, 32);
});

test('one late check halves the limit of running pieces', async () => {
  const { clock, world, passWithGuests } = startWork(20_000, { guests: true });
  await clock.until(() => world.underWay >= 80, 20_000);
  const lateOne = world.looks + 1;
  world.lateMsOf = (look) => (look === lateOne ? 3 : 0);
  await passWithGuests(2 * pieceMs);
  world.most = 0;
  await passWithGuests(2 * pieceMs);
  assert.ok(world.most >= 40 && world.most <= 48, `${world.most} at most`);
});

test('the limit does not rise while no piece waits', async () => {
  const { clock, world, ask, passWithGuests } = startWork(32, { guests: true, lastsMs: (n) => (n < 24 ? 10 : longMs) });
  await clock.until(() => world.done === 24, 10_000);
  await passWithGuests(2_000);
  void ask(100);
  await passWithGuests(5);
  assert.equal(world.underWay, 32);
});

test('the lateness of the event loop is not sampled while no piece waits', async () => {
  const { world, passWithGuests } = startWork(32, { guests: true, lastsMs: () => longMs });
  await passWithGuests(1_000);
  assert.deepEqual([world.underWay, world.looks], [32, 0]);
});

test('once the guests are gone, new pieces run at once', async () => {
  const { clock, world, background, all } = startWork(1, { guests: true });
  await clock.pass(pieceMs);
  await all;
  await clock.pass(1_001);
  const pieces = Array.from({ length: 100 }, () => background.run(() => clock.sleep(pieceMs)));
  await clock.pass(pieceMs);
  await Promise.all(pieces);
  assert.equal(world.done, 1);
});

test('a piece runs in the call context of its own caller, whichever piece it waited for', async () => {
  const clock = virtualClock();
  const background = new Background(clock);
  background.noteGuest();
  const callOf = (requestId: string): Parameters<typeof runAsCall>[0] => ({
    caller: { kind: 'anonymous', name: 'system:anonymous' },
    cause: { correlationId: requestId, causes: [], caller: 'system:anonymous' },
    requestId,
    deadline: 0,
    remainingMs: () => 1_000,
  });
  const ofAsker = (_: unknown, n: number) =>
    runAsCall(callOf(`${n}`), () =>
      background.run(async () => {
        const atFirst = currentCall()?.requestId;
        await clock.sleep(pieceMs);
        return [atFirst, currentCall()?.requestId];
      }),
    );
  const seen = await clock.drive(Promise.all(Array.from({ length: 100 }, ofAsker)));
  assert.deepEqual(
    seen,
    Array.from({ length: 100 }, (_, n) => [`${n}`, `${n}`]),
  );
});

test('a piece that fails frees its place, and its error reaches only its own caller', async () => {
  const background = new Background(virtualClock());
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
