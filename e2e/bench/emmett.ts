import { LauncherError } from '@interlock/local/data-folder.ts';
import type { Scope } from '@interlock/runtime';

/** One event, as Emmett takes it. */
export interface EmmettEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
  readonly metadata: Record<string, unknown>;
}

/** The peer of the event store: Emmett's Postgres store. */
export interface Emmett {
  /** Stores one event durably. @param expected version of the stream before it; 0 for an unwritten one */
  append(stream: string, expected: number, event: EmmettEvent): Promise<void>;
}

/**
 * Opens Emmett's Postgres store as it comes, with a connection pool of its own, in an empty database.
 * @throws LauncherError when the package is not installed
 */
export const openEmmett = async (url: string, scope: Scope): Promise<Emmett> => {
  const { getPostgreSQLEventStore } = await installed();
  const store = getPostgreSQLEventStore(url);
  scope.defer('Emmett', () => store.close());
  await store.schema.migrate();
  return {
    async append(stream, expected, event) {
      const expectedStreamVersion = expected === 0 ? 'STREAM_DOES_NOT_EXIST' : BigInt(expected);
      await store.appendToStream(stream, [event], { expectedStreamVersion });
    },
  };
};

const installed = async () => {
  try {
    return await import('@event-driven-io/emmett-postgresql');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    throw new LauncherError(
      'Emmett, the peer of this bench, is not installed: it is a development dependency of e2e, which `npx pnpm install` brings when it is called without `--prod`.',
      { cause: error },
    );
  }
};
