import { Rejection } from '@interlock/event-store';
import { DETAILS_TRAILER, type Link, RETRY_AFTER_MS, toWire } from '@interlock/rpc';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import { type CallOptions, ClientError, Metadata, Status } from 'nice-grpc-common';
import { type Cuts, isVmHostPart, type Part } from '../cloud/parts.ts';
import type { CallFaults } from './fault-rates.ts';
import type { Gate } from './gate.ts';

/** Rate limits of a service that refuse: the retry delay that it sends, in milliseconds, by a text in the request; '' is every request. */
export type Throttling = ReadonlyMap<string, number>;

/** The network between callers and services. */
export interface Network {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: CallFaults;
  readonly cuts: Cuts;
  /** How long every request to a service waits before it is carried out, in milliseconds. */
  readonly slow: ReadonlyMap<Part, number>;
  /** Services that refuse calls with a rate limit. */
  readonly throttled: ReadonlyMap<Part, Throttling>;
  /** Whether a call to a process that ended is refused at once. Otherwise it waits for its deadline, as if the machine were lost. */
  readonly refusesForEnded: boolean;
}

/** One end of a link. Callers outside have no gate, because nothing stops them. */
export interface End {
  readonly part: Part;
  readonly gate: Gate | undefined;
}

/** How long it takes at most until a lost connection is reset, in milliseconds. */
const RESET_MS = 20;

/** Waits for the caller's own deadline: nothing else ends a call without a response. */
const untilAborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(new DOMException('The call was aborted', 'AbortError'));
    if (signal?.aborted) end();
    signal?.addEventListener('abort', end, { once: true });
  });

/** The path from one end to another, with its faults. */
class Way {
  readonly #network: Network;
  readonly #from: End;
  readonly #to: End;

  constructor(network: Network, from: End, to: End) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
  }

  get gate(): Gate | undefined {
    return this.#from.gate;
  }

  /** Whether no fault is possible now: then a call takes the direct path. */
  isQuiet(): boolean {
    const { faults, slow, throttled } = this.#network;
    return (
      faults.loseRequest === 0 &&
      faults.loseAnswer === 0 &&
      faults.delay === 0 &&
      faults.duplicate === 0 &&
      faults.late === 0 &&
      slow.size === 0 &&
      throttled.size === 0 &&
      !this.#isCut() &&
      (this.#to.gate === undefined || this.#to.gate.isOpen())
    );
  }

  /** Whether the caller runs too. */
  isFree(): boolean {
    return this.isQuiet() && (this.gate === undefined || this.gate.isOpen());
  }

  isDuplicated(): boolean {
    return this.#network.random.chance(this.#network.faults.duplicate);
  }

  /** Whether another attempt of a call arrives late. */
  isLate(): boolean {
    const { random, faults } = this.#network;
    return isVmHostPart(this.#to.part) && random.chance(faults.late);
  }

  /** Carries out an attempt that its caller has given up, as long as the process that it was sent to lives. */
  async arriveLate(again: () => Promise<unknown>): Promise<void> {
    const { clock, random, faults } = this.#network;
    await clock.sleep(random.fraction() * faults.lateMs);
    await this.#to.gate?.held();
    await Promise.allSettled([again()]);
  }

  /** Delivers a request to the other end. Throws if it does not arrive. */
  async send(path: string, request: unknown, options: CallOptions): Promise<void> {
    const { clock, random, faults, slow, throttled } = this.#network;
    const { signal } = options;
    if (this.#isCut() || random.chance(faults.loseRequest)) await this.#lose(path, signal);
    const waitMs = this.#delayMs() + (slow.get(this.#to.part) ?? 0);
    if (waitMs > 0) await clock.sleep(waitMs, signal);
    const { gate } = this.#to;
    if (gate?.isCondemned() && this.#network.refusesForEnded) {
      throw new ClientError(path, Status.UNAVAILABLE, 'the connection was refused');
    }
    // A stopped process still has its sockets: the request waits in them.
    if (gate && !gate.isOpen()) await untilOpen(gate, signal);
    for (const [about, retryAfterMs] of throttled.get(this.#to.part) ?? [])
      if (about === '' || mentions(request, about)) throw throttle(path, options, retryAfterMs);
  }

  /** Returns a response or a failure. */
  async receive(path: string, signal: AbortSignal | undefined): Promise<void> {
    const { clock, random, faults } = this.#network;
    if (this.#isCut() || random.chance(faults.loseAnswer)) await this.#lose(path, signal);
    const waitMs = this.#delayMs();
    if (waitMs > 0) await clock.sleep(waitMs, signal);
  }

  /** The response or failure of a call has arrived. The caller may be stopped or have ended by then. */
  async responded(path: string, options: CallOptions): Promise<void> {
    if (!this.isQuiet()) {
      try {
        await this.receive(path, options.signal);
      } catch (error) {
        // The details of a refusal travel with it: if it is lost they are too.
        options.onTrailer?.(Metadata());
        throw error;
      } finally {
        await this.gate?.held();
      }
    }
    await this.gate?.held();
  }

  #isCut(): boolean {
    return this.#network.cuts.isCut(this.#from.part, this.#to.part);
  }

  #delayMs(): number {
    const { random, faults } = this.#network;
    return random.chance(faults.delay) ? random.fraction() * faults.delayMs : 0;
  }

  /** No response: the connection is reset after a moment, or nothing arrives at all. */
  async #lose(path: string, signal: AbortSignal | undefined): Promise<never> {
    const { clock, random } = this.#network;
    if (random.chance(0.5)) return untilAborted(signal);
    await clock.sleep(random.fraction() * RESET_MS, signal);
    throw new ClientError(path, Status.UNAVAILABLE, 'the connection was reset');
  }
}

/** A link from one end to another over a network with faults. */
export const linkBetween =
  (network: Network, from: End, to: End): Link =>
  (carry) => {
    const way = new Way(network, from, to);
    const { gate } = way;
    return {
      async once(method, request, options) {
        const { path } = method;
        if (!way.isQuiet()) {
          try {
            await way.send(path, request, options);
          } catch (error) {
            await gate?.held();
            throw error;
          }
        }
        // A stream of requests can be sent only once: no transport repeats it.
        const isRepeatable = method.options.idempotencyLevel !== undefined && !method.requestStream;
        // The response of the first call is lost.
        if (isRepeatable && way.isDuplicated()) void Promise.allSettled([carry.once(method, request, options)]);
        if (isRepeatable && way.isLate()) {
          const { signal: _ended, onTrailer: _unread, ...sent } = options;
          void way.arriveLate(() => carry.once(method, request, sent));
        }
        let response: unknown;
        try {
          response = await carry.once(method, request, options);
        } catch (error) {
          if (!way.isFree()) await way.responded(path, options);
          throw error;
        }
        if (!way.isFree()) await way.responded(path, options);
        return response;
      },
      stream: (method, request, options) =>
        carried(() => carry.stream(method, request, options), {
          gate,
          send: async () => {
            if (!way.isQuiet()) await way.send(method.path, request, options);
          },
          receive: async () => {
            if (!way.isQuiet()) await way.receive(method.path, options.signal);
          },
        }),
    };
  };

/** A stream of responses over a network: a response that the caller does not read is not sent. */
async function* carried(
  begin: () => AsyncGenerator<unknown, void>,
  way: { readonly gate: Gate | undefined; readonly send: () => Promise<void>; readonly receive: () => Promise<void> },
): AsyncGenerator<unknown, void> {
  const { gate, send, receive } = way;
  await send();
  const responses = begin();
  try {
    for (;;) {
      const response = await (gate ? gate.through(responses.next()) : responses.next());
      await receive();
      if (response.done === true) return;
      yield response.value;
    }
  } finally {
    await responses.return();
  }
}

/** Whether a request contains this text. */
const mentions = (request: unknown, text: string): boolean => {
  if (typeof request === 'string') return request.includes(text);
  if (typeof request !== 'object' || request === null || request instanceof Uint8Array) return false;
  return Object.values(request).some((part) => mentions(part, text));
};

const untilOpen = (gate: Gate, signal: AbortSignal | undefined): Promise<void> =>
  Promise.race([new Promise<void>((resolve) => gate.whenOpen(resolve)), untilAborted(signal)]);

/** The refusal of a throttled call, as the service's own server would send it. */
const throttle = (path: string, options: CallOptions, retryAfterMs: number): ClientError => {
  const rejection = new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'too many requests: come again later', {
    [RETRY_AFTER_MS]: String(retryAfterMs),
  });
  const wire = toWire(rejection, undefined);
  options.onTrailer?.(Metadata({ [DETAILS_TRAILER]: wire.details }));
  return new ClientError(path, wire.code, wire.message);
};
