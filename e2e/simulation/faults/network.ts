import { Rejection } from '@interlock/event-store';
import { DETAILS_TRAILER, type Link, RETRY_AFTER_MS, toWire } from '@interlock/rpc';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { type CallOptions, ClientError, Metadata, Status } from 'nice-grpc-common';
import type { Cuts, Part } from '../cloud/parts.ts';
import type { CallFaults } from './fault-rates.ts';
import type { Gate } from './gate.ts';

/** The net between callers and services. */
export interface Network {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: CallFaults;
  readonly cuts: Cuts;
  /** Milliseconds every request to a service waits before it is carried out. */
  readonly slow: ReadonlyMap<Part, number>;
  /** Services that answer every call with a rate limit, and after how long they say to come again. */
  readonly throttled: ReadonlyMap<Part, number>;
}

/** One end of a link. People outside have no gate: nothing stops them. */
export interface End {
  readonly part: Part;
  readonly gate: Gate | undefined;
}

/** How long an end takes to notice that a peer it was cut off from does not answer, where its connection is not reset. */
const RESET_MS = 20;

/** Milliseconds pass, unless the signal comes first. */
const passing = (clock: VirtualClock, durationMs: number, signal: AbortSignal | undefined): Promise<void> =>
  clock.sleep(durationMs, signal);

/** Waits for the caller's own deadline, which is all that ends a call into a void. */
const untilAborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(new DOMException('The call was aborted', 'AbortError'));
    if (signal?.aborted) end();
    signal?.addEventListener('abort', end, { once: true });
  });

/** The way from one end to another, with everything that goes wrong on it. */
export const linkBetween = (network: Network, from: End, to: End): Link => {
  const { clock, random, faults, cuts } = network;

  /** No answer: the connection is reset after a moment, or nothing comes at all. */
  const lose = async (path: string, signal: AbortSignal | undefined): Promise<never> => {
    if (random.chance(0.5)) return untilAborted(signal);
    await passing(clock, random.fraction() * RESET_MS, signal);
    throw new ClientError(path, Status.UNAVAILABLE, 'the connection was reset');
  };
  const late = (): number => (random.chance(faults.delay) ? random.fraction() * faults.delayMs : 0);
  const isCut = (): boolean => cuts.isCut(from.part, to.part);

  /** Brings a request to the other end. Throws where it does not arrive. */
  const send = async (path: string, options: CallOptions): Promise<void> => {
    const { signal } = options;
    if (isCut() || random.chance(faults.loseRequest)) await lose(path, signal);
    const waitMs = late() + (network.slow.get(to.part) ?? 0);
    if (waitMs > 0) await passing(clock, waitMs, signal);
    // A stopped process still has its sockets: the request waits in them.
    if (to.gate && !to.gate.isOpen()) await standing(to.gate, signal);
    const retryAfterMs = network.throttled.get(to.part);
    if (retryAfterMs !== undefined) throw throttle(path, options, retryAfterMs);
  };
  /** Brings an answer back, or a failure. */
  const receive = async (path: string, signal: AbortSignal | undefined): Promise<void> => {
    if (isCut() || random.chance(faults.loseAnswer)) await lose(path, signal);
    const waitMs = late();
    if (waitMs > 0) await passing(clock, waitMs, signal);
  };
  /** Whether nothing can go wrong just now: then the call goes its way without a detour. */
  const isQuiet = (): boolean =>
    faults.loseRequest === 0 &&
    faults.loseAnswer === 0 &&
    faults.delay === 0 &&
    faults.duplicate === 0 &&
    network.slow.size === 0 &&
    network.throttled.size === 0 &&
    !isCut() &&
    (to.gate === undefined || to.gate.isOpen());

  const { gate } = from;
  return (carry) => {
    /** The answer of a call, or its failure, when it is back; the caller may be stopped or gone by then. */
    const answered = async (path: string, options: CallOptions): Promise<void> => {
      if (!isQuiet()) {
        try {
          await receive(path, options.signal);
        } catch (error) {
          // What a refusal says travels with it: of one that is lost nothing arrives.
          options.onTrailer?.(Metadata());
          throw error;
        } finally {
          await gate?.held();
        }
      }
      await gate?.held();
    };
    const isFree = (): boolean => isQuiet() && (gate === undefined || gate.isOpen());
    return {
      async once(method, request, options) {
        const { path } = method;
        if (!isQuiet()) {
          try {
            await send(path, options);
          } catch (error) {
            await gate?.held();
            throw error;
          }
        }
        // A stream of requests can be sent only once: no transport repeats it.
        const isRepeatable = method.options.idempotencyLevel !== undefined && !method.requestStream;
        const isTwice = isRepeatable && random.chance(faults.duplicate);
        // The answer of the first is the one that is lost.
        if (isTwice) void Promise.allSettled([carry.once(method, request, options)]);
        let answer: unknown;
        try {
          answer = await carry.once(method, request, options);
        } catch (error) {
          if (!isFree()) await answered(path, options);
          throw error;
        }
        if (!isFree()) await answered(path, options);
        return answer;
      },
      stream: (method, request, options) =>
        carried(() => carry.stream(method, request, options), {
          gate,
          send: async () => {
            if (!isQuiet()) await send(method.path, options);
          },
          receive: async () => {
            if (!isQuiet()) await receive(method.path, options.signal);
          },
        }),
    };
  };
};

/** A stream of answers over a net: one that nobody reads is not sent. */
async function* carried(
  begin: () => AsyncGenerator<unknown, void>,
  way: { readonly gate: Gate | undefined; readonly send: () => Promise<void>; readonly receive: () => Promise<void> },
): AsyncGenerator<unknown, void> {
  const { gate, send, receive } = way;
  await send();
  const answers = begin();
  try {
    for (;;) {
      const answer = await (gate ? gate.through(answers.next()) : answers.next());
      await receive();
      if (answer.done === true) return;
      yield answer.value;
    }
  } finally {
    await answers.return();
  }
}

const standing = (gate: Gate, signal: AbortSignal | undefined): Promise<void> =>
  Promise.race([new Promise<void>((resolve) => gate.whenOpen(resolve)), untilAborted(signal)]);

/** The refusal of a service that is asked too often, as its own server would send it. */
const throttle = (path: string, options: CallOptions, retryAfterMs: number): ClientError => {
  const rejection = new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'too many requests: come again later', {
    [RETRY_AFTER_MS]: String(retryAfterMs),
  });
  const wire = toWire(rejection, undefined);
  options.onTrailer?.(Metadata({ [DETAILS_TRAILER]: wire.details }));
  return new ClientError(path, wire.code, wire.message);
};
