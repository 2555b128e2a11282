import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { openDataClient } from '../disk-io/data-client.ts';
import { timed } from '../measure.ts';
import { type FromGuests, ioBytes, type ToGuests } from './guest-latency.ts';

/** A piece of 4 KiB of each disk in so many milliseconds, beside what it takes itself. */
const everyMs = 20;

/** The process of `guest-latency.ts`: reads and writes between `begin` and `end`, and says how long each piece took. */
process.on('message', ({ targets, what }: ToGuests) => {
  if (what === 'open') {
    disks.push(...targets.map(openDataClient));
    void Promise.all(disks.map((disk) => disk.write(0, content))).then(
      () => answer({ tookMs: [], loopLateMs: 0 }),
      fail,
    );
  } else if (what === 'begin') begin();
  else void end();
});

const content = randomBytes(ioBytes);
const disks: ReturnType<typeof openDataClient>[] = [];
const loop = monitorEventLoopDelay({ resolution: 1 });
let tookMs: number[] = [];
let isOver = false;
let pieces: Promise<unknown> = Promise.resolve();

const answer = (told: FromGuests): void => {
  process.send?.(told);
};
/** No piece may fail (G6): whoever started this process sees it end. */
const fail = (error: unknown): void => {
  console.error(error);
  process.exit(1);
};

const begin = (): void => {
  tookMs = [];
  isOver = false;
  loop.reset();
  loop.enable();
  const again = disks.map(async (disk, n) => {
    for (let piece = 0; !isOver; piece++) {
      await delay(everyMs);
      tookMs.push(await timed(() => ((piece + n) % 2 === 0 ? disk.read(0, ioBytes) : disk.write(0, content))));
    }
  });
  pieces = Promise.all(again).catch(fail);
};

const end = async (): Promise<void> => {
  isOver = true;
  await pieces;
  answer({ tookMs, loopLateMs: loop.percentile(99) / 1e6 });
};
