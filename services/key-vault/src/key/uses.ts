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
 * Which key versions have ever wrapped something: one row each, for ever. It is by version and not by key, because a
 * version that is restored from a backup can still open what it wrapped, and a new key under an old name cannot.
 */
export interface KeyUses {
  /**
   * What to store beside the record of a wrap, so that the wrap does not leave without it; `undefined` where this process
   * knows that it is stored. So it costs no commit of its own, and one row for each version a process wraps with.
   */
  wrappedBy(keyVersion: string, at: Instant): { readonly change: RowChange; stored(): void } | undefined;
  /** Whether one of these versions of a key ever wrapped something. @param key `vaults/<v>/keys/<k>` */
  hasWrapped(key: string, versions: readonly string[]): Promise<boolean>;
  /** Versions in a vault that ever wrapped something, purged ones among them, a bounded number at a time. */
  inVault(vault: string): AsyncIterable<readonly { readonly key: string; readonly version: string }[]>;
}

interface UseRow {
  readonly firstWrapAt: Instant;
}

const definition: TableDefinition<UseRow> = { name: 'key_use', version: 1 };
/** Versions a process remembers as stored; the oldest go first, and are stored again at their next wrap. */
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
