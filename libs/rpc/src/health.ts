import type { Server } from 'nice-grpc';
import type { CallContext } from 'nice-grpc-common';
import { HealthDefinition, HealthServiceImpl, HealthState } from 'nice-grpc-server-health';

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
