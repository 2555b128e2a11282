import { type EventStore, pagesOf, type Table, type TableDefinition, table } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { StoredAlongside } from '../audit/draft.ts';
import { versionName } from '../names.ts';

interface UseRow {
  readonly firstWrapAt: Instant;
}

const definition: TableDefinition<UseRow> = { name: 'key_use', version: 1 };
/** Stored versions that a process remembers; the oldest is dropped, and stored again at its next wrap. */
const rememberedMax = 10_000;
const pageSize = 500;

/**
 * Which key versions have ever wrapped something: one permanent row for each. Versions and not keys count, because a version
 * restored from a backup can still unwrap, and a new key under an old name cannot.
 */
export class KeyUses {
  readonly #rows: Table<UseRow>;
  readonly #remembered = new Set<string>();

  constructor(store: EventStore) {
    this.#rows = table(store, definition);
  }

  /**
   * The row to store together with the audit entry of a wrap, before the wrap is returned; `undefined` when this process has
   * stored it. It needs no commit of its own.
   */
  wrappedBy(keyVersion: string, firstWrapAt: Instant): StoredAlongside | undefined {
    if (this.#remembered.has(keyVersion)) return undefined;
    return {
      change: this.#rows.put(keyVersion, { firstWrapAt }, undefined),
      stored: () => {
        this.#remembered.add(keyVersion);
        const [oldest] = this.#remembered;
        if (this.#remembered.size > rememberedMax && oldest !== undefined) this.#remembered.delete(oldest);
      },
    };
  }

  /** Whether a version of a key ever wrapped something. @param key `vaults/<v>/keys/<k>` */
  async hasWrapped(key: string, versions: readonly string[]): Promise<boolean> {
    return (await this.#rows.getMany(versions.map((version) => versionName(key, version)))).size > 0;
  }

  /** Versions in a vault that ever wrapped something, also purged ones, in pages. */
  async *inVault(vault: string): AsyncGenerator<readonly { readonly key: string; readonly version: string }[]> {
    for await (const page of pagesOf(this.#rows, { prefix: `vaults/${vault}/keys/`, limit: pageSize })) {
      yield page.map(({ key: name }) => {
        const [key = '', version = ''] = name.split('/versions/');
        return { key, version };
      });
    }
  }
}
