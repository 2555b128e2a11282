/** Large requests that come in at a time at one server, and of one connection. With 4 MiB each they take at most 64 MiB. */
const LARGE_MAX = 16;
const LARGE_OF_CONNECTION_MAX = 4;

/** Places for large requests while they come in: who has none is not read on, and HTTP/2 makes its sender wait. */
export interface LargeRequests {
  /** Resolves when there is a place for this request. @param connection whose share it counts against */
  take(request: object, connection: object | undefined): Promise<void>;
  /** Gives the place up, or the wait for one, which then resolves. */
  giveUp(request: object): void;
}

interface Waiting {
  readonly request: object;
  readonly connection: object | undefined;
  readonly go: () => void;
}

/** All places are free. */
export const largeRequests = (): LargeRequests => {
  /** Request → its connection. */
  const taken = new Map<object, object | undefined>();
  let waiting: readonly Waiting[] = [];
  const ofConnection = (connection: object | undefined): number =>
    [...taken.values()].filter((other) => other === connection).length;
  const hasPlace = (connection: object | undefined): boolean =>
    taken.size < LARGE_MAX && ofConnection(connection) < LARGE_OF_CONNECTION_MAX;

  const letIn = (): void => {
    for (const next of waiting) {
      if (!hasPlace(next.connection)) continue;
      waiting = waiting.filter((other) => other !== next);
      taken.set(next.request, next.connection);
      next.go();
    }
  };
  return {
    take: (request, connection) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = [...waiting, { request, connection, go: resolve }];
      letIn();
      return promise;
    },
    giveUp(request) {
      const own = waiting.find((other) => other.request === request);
      waiting = waiting.filter((other) => other !== own);
      own?.go();
      if (taken.delete(request)) letIn();
    },
  };
};
