import type { Server } from 'nice-grpc';
import type { CallContext } from 'nice-grpc-common';
import { HealthDefinition, HealthServiceImpl, HealthState } from 'nice-grpc-server-health';
import type { Channel } from './channel.ts';
import { connect } from './client.ts';
import type { ClientPipelineOptions } from './client-pipeline.ts';
import { RpcFailure } from './rpc-failure.ts';

/** The gRPC health service of one server: it is live if it responds, and ready if it responds SERVING. */
export interface Health {
  /** Adds the health service to a server. */
  mount(server: Pick<Server, 'add'>): void;
  /** From now on the server answers NOT_SERVING, whatever `isReady` says. */
  stop(): void;
}

/**
 * @param isReady called at every check of the whole server (`service: ''`); watchers are notified when the result changes
 * @param stopping aborted when watches must end
 */
export function health(isReady: () => Promise<boolean> | boolean, stopping: AbortSignal): Health {
  const state = HealthState();
  const { check, watch } = HealthServiceImpl(state);
  let stopped = false;
  const look = async (): Promise<void> => {
    const ready = !stopped && (await isReady());
    state.setStatus(ready && !stopped ? 'healthy' : 'unhealthy');
  };
  return {
    mount: (server) =>
      server.add(HealthDefinition, {
        check: async (request, context) => {
          await look();
          return check(request, context);
        },
        watch: async function* (request, context: CallContext) {
          await look();
          yield* watch(request, { ...context, signal: AbortSignal.any([context.signal, stopping]) });
        },
      }),
    stop: () => {
      stopped = true;
      state.setStatus('unhealthy');
    },
  };
}

/**
 * Calls the health service over a channel. It says only whether the server responds: any response counts, also a refusal or
 * NOT_SERVING.
 * @returns calls it once, and waits at most so many milliseconds
 */
export const healthProbe = (
  channel: Channel,
  parts: Pick<ClientPipelineOptions, 'clock' | 'random' | 'tracer'>,
): ((withinMs: number) => Promise<boolean>) => {
  const retry = { attemptsMax: 1, backoffMs: 0, backoffMsMax: 0 };
  const client = connect({
    ...{ ...parts, channel, definition: HealthDefinition, credentials: undefined, audience: '', retry },
  });
  return async (withinMs) => {
    try {
      await client.check({ service: '' }, { deadlineMs: withinMs });
      return true;
    } catch (error) {
      const isSilent = error instanceof RpcFailure && silences.has(error.code);
      if (!isSilent && !(error instanceof RpcFailure)) throw error;
      return !isSilent;
    }
  };
};

/** No response; CANCELLED if the channel was closed. */
const silences: ReadonlySet<string> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED']);
