/** Most large requests that one server receives at once, and most of them of one connection. At 4 MiB each they take 64 MiB. */
const LARGE_MAX = 16;
const LARGE_OF_CONNECTION_MAX = 4;

/** Places for large requests while they arrive. A request without a place is not read, so HTTP/2 makes its sender wait. */
export interface LargeRequests {
  /** Takes a place if one is free. @param connection the connection whose limit it counts against @returns whether it has one */
  takeFree(request: object, connection: object | undefined): boolean;
  /** As `takeFree`, but resolves when this request has a place. */
  take(request: object, connection: object | undefined): Promise<void>;
  /** Frees the place, or ends the wait for one, which then resolves. */
  giveUp(request: object): void;
}

interface Waiting {
  readonly request: object;
  readonly connection: object | undefined;
  readonly go: () => void;
}

/** Starts with all places free. */
export const largeRequests = (): LargeRequests => {
  /** Request → its connection. */
  const taken = new Map<object, object | undefined>();
  let waiting: readonly Waiting[] = [];
  const ofConnection = (connection: object | undefined): number =>
    [...taken.values()].filter((other) => other === connection).length;
  const hasPlace = (connection: object | undefined): boolean =>
    taken.size < LARGE_MAX && ofConnection(connection) < LARGE_OF_CONNECTION_MAX;

  // No waiting request could use a free place: each was let in as soon as it could be.
  const takeFree: LargeRequests['takeFree'] = (request, connection) => {
    if (!hasPlace(connection)) return false;
    taken.set(request, connection);
    return true;
  };
  const letIn = (): void => {
    for (const next of waiting) {
      if (!takeFree(next.request, next.connection)) continue;
      waiting = waiting.filter((other) => other !== next);
      next.go();
    }
  };
  return {
    takeFree,
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
