import { parentPort, workerData } from 'node:worker_threads';
import { seededRandom } from '@interlock/runtime';
import { attacks } from './attacks.ts';
import type { NbdTarget } from './target.ts';

/** What the thread of the attackers starts with. */
export interface AttackersSettings {
  readonly target: NbdTarget;
  readonly seconds: number;
  readonly seed: number;
  /** Only attacks with this text in their name. */
  readonly only: string | undefined;
}

/** What it did. */
export interface Attacked {
  readonly conversations: Readonly<Record<string, number>>;
  readonly messages: number;
  /** What no server may do to a client. */
  readonly problems: readonly string[];
}

/** Attackers at a time. */
const attackersCount = 24;

/** When a conversation is over at the latest, in milliseconds: above the longest deadline of the server. */
const conversationMs = 60_000;

/** @throws Error for a conversation that does not end: the server neither answers nor ends it */
const inTime = async <Result>(conversation: Promise<Result>): Promise<Result> => {
  const late = Promise.withResolvers<never>();
  const alarm = setTimeout(() => late.reject(new Error(`it did not end within ${conversationMs} ms`)), conversationMs);
  return Promise.race([conversation, late.promise]).finally(() => clearTimeout(alarm));
};

/** Attacks until the time is over. This file is the entry point of a thread, so that the other clients are not held up by the attackers. */
const attack = async ({ target, seconds, seed, only = '' }: AttackersSettings): Promise<Attacked> => {
  const chosen = attacks.filter(({ name }) => name.includes(only));
  const ladder = chosen.flatMap((one) => Array.from({ length: one.share }, () => one));
  const conversations: Record<string, number> = {};
  const problems: string[] = [];
  let [next, messages] = [0, 0];
  const endMs = performance.now() + seconds * 1_000;
  const attacker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const number = next++;
      const random = seededRandom(seed).fork(`conversation ${number}`);
      const { name, run } = random.pick(ladder);
      try {
        const sent = await inTime(run(target, random));
        messages += sent;
      } catch (error) {
        problems.push(`${name}, conversation ${number}: ${error instanceof Error ? error.message : error}`);
      }
      conversations[name] = (conversations[name] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: attackersCount }, attacker));
  return { conversations, messages, problems };
};

if (!parentPort) throw new Error('attackers.ts runs only as a worker thread');
parentPort.postMessage(await attack(workerData as AttackersSettings));
