import type { ServerHttp2Stream } from 'node:http2';
import { Metadata, type ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { TIMEOUT } from './admission.ts';
import type { Rule } from './authorization.ts';
import { CallMetadata } from './call.ts';
import { tooMany } from './calls-by-caller.ts';
import { DETAILS_TRAILER, toWire } from './errors.ts';
import { type LargeRequests, largeRequests } from './large-requests.ts';
import { OpenCalls } from './open-calls.ts';
import type { Authenticate } from './tokens.ts';

/** Bounds on what callers can make a server hold in memory before and after their calls are handled. */
export interface ReceivingLimits {
  /** Most concurrent streams of one connection; a gRPC client queues further ones. Default 256. */
  readonly streamsPerConnectionMax?: number;
  /** How long a request of one message may take to arrive, and each message of a stream. Default 10,000 ms. */
  readonly receiveMs?: number;
  /** How long a caller may leave a response unread. Default 60,000 ms: longer than a paused guest or a suspended laptop is away. */
  readonly takeMs?: number;
}

export const STREAMS_PER_CONNECTION_MAX = 256;
const RECEIVE_MS = 10_000;
const TAKE_MS = 60_000;

/**
 * Largest request of an unauthenticated caller, in bytes. A larger request of any caller needs a place among the large ones. Every
 * public request is smaller: the largest is a token request of some hundred bytes.
 */
export const SMALL_REQUEST_BYTES_MAX = 64 * 1024;

/** Most concurrent calls of gRPC's own services, which need no token: a server has a few probes and users of reflection. */
const INFRASTRUCTURE_CALLS_MAX = 64;
/** How long a reflection stream may last, in milliseconds: a tool needs about a second. */
const REFLECTION_MS = 60_000;
const SWEEP_MS = 1_000;
/** How long a caller may take to end its side after the response, in milliseconds: longer than the response travels. */
const ANSWERED_MS = 2_000;

/** State that the calls of one server share. */
interface Server {
  readonly rules: ReadonlyMap<string, Rule<unknown>>;
  readonly authenticate: Authenticate;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly receiveMs: number;
  readonly large: LargeRequests;
  /** Running calls of gRPC's own services. */
  infrastructureCalls: number;
  readonly calls: OpenCalls<ReceivedCall>;
}

/**
 * Limits how requests arrive and responses leave, below the layer that knows messages.
 * @returns the interceptor of one server, and its open calls
 */
export const receiving = (
  parts: Pick<Server, 'rules' | 'authenticate'> & { readonly clock: Clock; readonly limits: ReceivingLimits },
): { readonly interceptor: ServerInterceptor; readonly calls: Pick<OpenCalls<never>, 'idle' | 'stop'> } => {
  const { rules, authenticate, clock, limits } = parts;
  const { receiveMs = RECEIVE_MS, takeMs = TAKE_MS } = limits;
  const calls = new OpenCalls<ReceivedCall>(clock, Math.min(SWEEP_MS, receiveMs, takeMs), (call, nowMs) =>
    call.endIfLate(nowMs, takeMs),
  );
  const server: Server = {
    ...{ rules, authenticate, clock, receiveMs, calls },
    large: largeRequests(),
    infrastructureCalls: 0,
  };
  return {
    calls,
    interceptor: (method, call) =>
      new ReceivedCall(server, method, call as BaseCall) as unknown as ServerInterceptingCall,
  };
};

type Interceptor = Parameters<ServerInterceptor>;
type MethodOfCall = Interceptor[0];
type Intercepted = Interceptor[1];
type Listener = Parameters<Intercepted['start']>[0];

/** grpc-js's own call: only its stream shows how much of a request has arrived. */
type BaseCall = Intercepted & { readonly stream: ServerHttp2Stream };

/** A call as it arrives and leaves. It passes everything on, counts, and ends a call that takes too much. */
class ReceivedCall implements Intercepted {
  readonly #server: Server;
  readonly #method: MethodOfCall;
  readonly #base: BaseCall;
  readonly #startedMs: number;
  #listener: Listener | undefined;
  #token: string | undefined;
  /** Bytes of the arriving message. */
  #bytes = 0;
  /** When it started to arrive; undefined while none is awaited. */
  #receivingSinceMs: number | undefined;
  #place: 'none' | 'wanted' | 'taken' = 'none';
  /** Messages passed to the stream that are not sent yet. */
  #unsent = 0;
  #sentMs = 0;
  /** When the response was sent; undefined before. */
  #answeredMs: number | undefined;

  constructor(server: Server, method: MethodOfCall, base: BaseCall) {
    this.#server = server;
    this.#method = method;
    this.#base = base;
    this.#startedMs = server.clock.monotonicMs();
  }

  start(listener: Listener): void {
    const { stream } = this.#base;
    this.#listener = listener;
    this.#server.calls.add(this);
    if (this.#isInfrastructure) this.#server.infrastructureCalls += 1;
    stream.once('close', () => this.#over());
    if (!this.#method.requestStream) this.#receivingSinceMs = this.#startedMs;
    if (this.#isInfrastructure && this.#server.infrastructureCalls > INFRASTRUCTURE_CALLS_MAX) {
      this.#base.start(this);
      this.#refuse(tooMany('calls of gRPC services', INFRASTRUCTURE_CALLS_MAX));
      return;
    }
    // Before grpc-js, so that it buffers no refused data.
    stream.prependListener('data', (data: Buffer) => this.#received(data.length));
    this.#base.start(this);
  }
  onReceiveMetadata(metadata: Metadata): void {
    const [authorization] = metadata.get(CallMetadata.authorization);
    this.#token = typeof authorization === 'string' ? authorization.replace(/^Bearer +/i, '') : undefined;
    this.#passDeadlineOn(metadata);
    this.#listener?.onReceiveMetadata(metadata);
  }
  onReceiveMessage(message: unknown): void {
    this.#bytes = 0;
    this.#giveUpPlace();
    if (this.#method.requestStream) this.#receivingSinceMs = undefined;
    this.#listener?.onReceiveMessage(message);
  }
  onReceiveHalfClose(): void {
    this.#receivingSinceMs = undefined;
    this.#listener?.onReceiveHalfClose();
  }
  onCancel(): void {
    this.#listener?.onCancel();
  }
  sendMessage(message: unknown, callback: () => void): void {
    if (this.#unsent === 0) this.#sentMs = this.#server.clock.monotonicMs();
    this.#unsent += 1;
    this.#base.sendMessage(message, () => {
      this.#unsent -= 1;
      this.#sentMs = this.#server.clock.monotonicMs();
      callback();
    });
  }
  sendMetadata(metadata: Metadata): void {
    this.#base.sendMetadata(metadata);
  }
  sendStatus(status: Parameters<Intercepted['sendStatus']>[0]): void {
    this.#receivingSinceMs = undefined;
    this.#base.sendStatus(status);
  }
  startRead(): void {
    this.#base.startRead();
  }
  getPeer(): string {
    return this.#base.getPeer();
  }
  getDeadline(): ReturnType<Intercepted['getDeadline']> {
    return this.#base.getDeadline();
  }
  getHost(): string {
    return this.#base.getHost();
  }
  getAuthContext(): ReturnType<Intercepted['getAuthContext']> {
    return this.#base.getAuthContext();
  }
  getConnectionInfo(): ReturnType<Intercepted['getConnectionInfo']> {
    return this.#base.getConnectionInfo();
  }
  getMetricsRecorder(): ReturnType<Intercepted['getMetricsRecorder']> {
    return this.#base.getMetricsRecorder();
  }

  /** Ends the call if its request does not arrive, or its response is not read. */
  endIfLate(nowMs: number, takeMs: number): void {
    const { receiveMs } = this.#server;
    const { stream } = this.#base;
    if (stream.writableEnded && this.#unsent === 0) {
      // A caller that gets the response before it has sent everything would keep the stream and its data for ever.
      this.#answeredMs ??= nowMs;
      if (nowMs - this.#answeredMs >= ANSWERED_MS) stream.close();
      return;
    }
    const sinceMs = this.#receivingSinceMs;
    // A request that waits for a place or for its handler is not at fault. But a single request must arrive eventually.
    const isHeldUp = stream.isPaused() && (this.#method.requestStream || this.#place === 'wanted');
    if (sinceMs !== undefined && isHeldUp && this.#method.requestStream) this.#receivingSinceMs = nowMs;
    else if (sinceMs !== undefined && nowMs - sinceMs >= receiveMs * (isHeldUp ? HELD_UP_FACTOR : 1)) {
      this.#refuse(requestLate(receiveMs));
    } else if (this.#unsent > 0 && nowMs - this.#sentMs >= takeMs) {
      // A status would wait behind the responses that the client does not read.
      stream.close(ENHANCE_YOUR_CALM);
    } else if (this.#method.path.startsWith(REFLECTION) && nowMs - this.#startedMs >= REFLECTION_MS) {
      this.#refuse(new Rejection('ABORTED', 'STREAM_TOO_LONG', `a reflection stream may last ${REFLECTION_MS} ms`));
    }
  }

  get #isPublic(): boolean {
    const rule = this.#server.rules.get(this.#method.path);
    return rule === undefined || 'public' in rule;
  }
  /** Its handler authenticates: data carries the token of a disk. */
  get #isPublicStream(): boolean {
    return this.#method.requestStream && this.#isPublic;
  }
  get #isInfrastructure(): boolean {
    return this.#method.path.startsWith('/grpc.');
  }

  /** grpc-js ends the call at the deadline of a foreign client without an event, so the handler needs the deadline too. */
  #passDeadlineOn(metadata: Metadata): void {
    const deadline = this.#base.getDeadline();
    const leftMs = Math.ceil(Number(deadline) - this.#server.clock.now());
    if (!Number.isFinite(leftMs)) return;
    const [said] = metadata.get(CallMetadata.timeoutMs);
    // A malformed value is refused later, with its name.
    if (said !== undefined && !(TIMEOUT.test(String(said)) && Number(said) > leftMs)) return;
    metadata.set(CallMetadata.timeoutMs, String(Math.max(0, leftMs)));
  }

  #received(length: number): void {
    if (this.#method.requestStream) this.#receivingSinceMs ??= this.#server.clock.monotonicMs();
    this.#bytes += length;
    if (this.#bytes <= SMALL_REQUEST_BYTES_MAX || this.#place !== 'none') return;
    const { stream } = this.#base;
    // Without a pause, which costs much of the speed of the data path.
    if (this.#isPublicStream && this.#server.large.takeFree(this, stream.session)) {
      this.#place = 'taken';
      return;
    }
    this.#place = 'wanted';
    stream.pause();
    void this.#takePlace().catch((error: unknown) => this.#refuse(error));
  }

  /** Lets a large request continue once its caller is authenticated and a place is free. @throws Rejection if it must not */
  async #takePlace(): Promise<void> {
    if (!this.#isPublicStream) {
      if (this.#isPublic || this.#token === undefined) throw requestTooLarge(SMALL_REQUEST_BYTES_MAX);
      await this.#server.authenticate(this.#token);
    }
    const { stream } = this.#base;
    await this.#server.large.take(this, stream.session);
    if (stream.closed || stream.destroyed) {
      this.#server.large.giveUp(this);
      return;
    }
    this.#place = 'taken';
    stream.resume();
  }

  #giveUpPlace(): void {
    if (this.#place === 'none') return;
    this.#place = 'none';
    this.#server.large.giveUp(this);
  }

  #refuse(error: unknown): void {
    const { code, message, details } = toWire(error, undefined);
    const metadata = new Metadata();
    metadata.set(DETAILS_TRAILER, Buffer.from(details));
    this.sendStatus({ code, details: message, metadata });
  }

  #over(): void {
    this.#giveUpPlace();
    if (this.#server.calls.delete(this) && this.#isInfrastructure) this.#server.infrastructureCalls -= 1;
  }
}

const REFLECTION = '/grpc.reflection.';

/** How many times longer a single request may take if it waits for a place. */
const HELD_UP_FACTOR = 3;

/** HTTP/2's code for a peer that uses too much (RFC 9113 §7); gRPC clients see RESOURCE_EXHAUSTED. */
const ENHANCE_YOUR_CALM = 0xb;

const requestLate = (receiveMs: number): Rejection =>
  new Rejection(
    'ABORTED',
    'REQUEST_LATE',
    `the request did not arrive within ${receiveMs} ms: send it again, and all of it`,
    { receive_ms: String(receiveMs) },
  );

const requestTooLarge = (bytesMax: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'REQUEST_TOO_LARGE',
    `a request without a token, or to a public method, may have at most ${bytesMax} bytes`,
    { bytes_max: String(bytesMax) },
  );
