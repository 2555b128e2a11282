import type { ServerHttp2Stream } from 'node:http2';
import type { ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';
import type { Alarm, Clock } from '@interlock/runtime';

/** A stopping server is idle once no call was open for this time: calls that were sent before its GOAWAY still arrive. */
const IDLE_MS = 200;

/** The calls of a server whose streams are open. */
export interface OpenCalls {
  readonly interceptor: ServerInterceptor;
  /** Resolves once no call was open for `IDLE_MS`. Called once. */
  idle(): Promise<void>;
}

/** Counts the calls of a server: grpc-js knows only connections, and one of those stays open while its client is silent. */
export const openCalls = (clock: Clock): OpenCalls => {
  const idle = Promise.withResolvers<void>();
  let open = 0;
  let isAwaited = false;
  let alarm: Alarm | undefined;
  const look = (): void => {
    alarm?.cancel();
    alarm = isAwaited && open === 0 ? clock.alarm(IDLE_MS, idle.resolve) : undefined;
  };
  const count = (change: 1 | -1): void => {
    open += change;
    look();
  };
  return {
    interceptor: (_method, call): ServerInterceptingCall => {
      count(1);
      // grpc-js gives every call its stream, but its types do not declare it.
      (call as unknown as { readonly stream: ServerHttp2Stream }).stream.once('close', () => count(-1));
      return call as ServerInterceptingCall;
    },
    idle: () => {
      isAwaited = true;
      look();
      return idle.promise;
    },
  };
};
