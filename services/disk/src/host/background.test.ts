import assert from 'node:assert/strict';
import { test } from 'node:test';
import { currentCall, runAsCall } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import { Background } from './background.ts';

/** How long a piece lasts, in ms. */
const pieceMs = 50;

/** Duration of a piece that runs while others start and end, in ms. */
const longMs = 100_000;

/** Background work in pieces of which so many are asked for, in a process whose timers come as late as it says. */
const startWork = (
  count: number,
  { guests, lastsMs = () => pieceMs }: { readonly guests: boolean; readonly lastsMs?: (n: number) => number },
) => {
  const clock = virtualClock();
  const world = {
    /** How late the look of that number comes. */
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
  /** Lets time pass in which guests go on reading. */
  const passWithGuests = async (durationMs: number): Promise<void> => {
    for (let leftMs = durationMs; leftMs > 0; leftMs -= 10) {
      background.noteGuest();
      await clock.pass(Math.min(10, leftMs));
    }
  };
  return { clock, world, background, ask, passWithGuests, all: ask(count) };
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
  assert.equal(world.underWay, 32);
  await clock.until(() => world.done === 300, 10_000);
  await all;
  assert.ok(world.most > 32, `${world.most} at most`);
});

test('a process that is late for its guests has less under way, and never nothing', async () => {
  const { clock, world, all, passWithGuests } = startWork(2_000, { guests: true });
  await clock.until(() => world.underWay > 40, 10_000);
  world.lateMs = 3;
  await passWithGuests(4 * pieceMs);
  world.most = 0;
  await clock.until(() => world.done === 2_000, 20_000);
  await all;
  assert.equal(world.most, 32);
});

test('beside guests pieces are let in together, and the next ones after a rest as long as those took', async () => {
  const { world, passWithGuests } = startWork(300, { guests: true });
  await passWithGuests(pieceMs);
  assert.deepEqual([world.begun, world.done], [32, 32]);
  await passWithGuests(pieceMs - 1);
  assert.equal(world.begun, 32, 'guests have their time');
  await passWithGuests(1);
  assert.ok(world.begun >= 64, `${world.begun} have begun`);
});

test('the other pieces do not wait for a slow quarter of a batch, but for more than a quarter they do', async () => {
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

test('what is asked for long after everything was over waits for nothing', async () => {
  const { world, ask, passWithGuests } = startWork(40, { guests: true });
  await passWithGuests(500);
  assert.equal(world.done, 40);
  void ask(40);
  await passWithGuests(1);
  assert.ok(world.underWay >= 32, `${world.underWay} under way`);
});

test('one more is let in for each four looks in a row that come on time', async () => {
  const { world, passWithGuests } = startWork(1_000, { guests: true });
  await passWithGuests(800);
  // Eight times 50 ms of work, in which five looks are made and one more begins, and as much rest: 12 more than the 32.
  assert.ok(world.most >= 40 && world.most <= 44, `${world.most} at most`);
});

test('a process that is late at every third look lets in no more', async () => {
  const { world, passWithGuests } = startWork(1_000, { guests: true });
  world.lateMsOf = (look) => (look % 3 === 0 ? 3 : 0);
  await passWithGuests(2_000);
  assert.equal(world.most, 32);
});

test('one look that comes late halves what may be under way', async () => {
  const { clock, world, passWithGuests } = startWork(20_000, { guests: true });
  await clock.until(() => world.underWay >= 80, 20_000);
  const lateOne = world.looks + 1;
  world.lateMsOf = (look) => (look === lateOne ? 3 : 0);
  await passWithGuests(2 * pieceMs);
  world.most = 0;
  await passWithGuests(2 * pieceMs);
  assert.ok(world.most >= 40 && world.most <= 48, `${world.most} at most`);
});

test('where nothing waits, being on time makes no room for what comes later', async () => {
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

test('a piece runs in the context of its own caller, whichever piece makes room for it', async () => {
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

test('a piece that fails makes room for the next, and its failure is its own', async () => {
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
