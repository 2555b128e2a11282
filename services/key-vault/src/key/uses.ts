import {
  type EventStore,
  pagesOf,
  type RowChange,
  type Table,
  type TableDefinition,
  table,
} from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { versionName } from '../names.ts';

/**
 * Which key versions have ever wrapped something: one permanent row for each. Versions and not keys count, because a version
 * restored from a backup can still unwrap, and a new key under an old name cannot.
 */
export interface KeyUses {
  /**
   * The row to store together with the audit entry of a wrap, before the wrap is returned; `undefined` when this process has
   * stored it. It needs no commit of its own.
   */
  wrappedBy(keyVersion: string, at: Instant): { readonly change: RowChange; stored(): void } | undefined;
  /** Whether a version of a key ever wrapped something. @param key `vaults/<v>/keys/<k>` */
  hasWrapped(key: string, versions: readonly string[]): Promise<boolean>;
  /** Versions in a vault that ever wrapped something, also purged ones, in pages. */
  inVault(vault: string): AsyncIterable<readonly { readonly key: string; readonly version: string }[]>;
}

interface UseRow {
  readonly firstWrapAt: Instant;
}

const definition: TableDefinition<UseRow> = { name: 'key_use', version: 1 };
/** Stored versions that a process remembers; the oldest is dropped, and stored again at its next wrap. */
const rememberedMax = 10_000;
const pageSize = 500;

/** Opens the record of uses of a store. */
export const keyUses = (store: EventStore): KeyUses => {
  const rows = table(store, definition);
  const remembered = new Set<string>();
  return {
    wrappedBy(keyVersion, firstWrapAt) {
      if (remembered.has(keyVersion)) return undefined;
      return {
        change: rows.put(keyVersion, { firstWrapAt }, undefined),
        stored() {
          remembered.add(keyVersion);
          const [oldest] = remembered;
          if (remembered.size > rememberedMax && oldest !== undefined) remembered.delete(oldest);
        },
      };
    },
    hasWrapped: async (key, versions) =>
      (await rows.getMany(versions.map((version) => versionName(key, version)))).size > 0,
    inVault: (vault) => versionsInVault(rows, vault),
  };
};

async function* versionsInVault(
  rows: Table<UseRow>,
  vault: string,
): AsyncGenerator<readonly { readonly key: string; readonly version: string }[]> {
  for await (const page of pagesOf(rows, { prefix: `vaults/${vault}/keys/`, limit: pageSize })) {
    yield page.map(({ key: name }) => {
      const [key = '', version = ''] = name.split('/versions/');
      return { key, version };
    });
  }
}
