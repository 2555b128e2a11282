import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Random } from '@interlock/runtime';

/** A position that the history of this service has reached. */
export interface HistoryMark {
  /** Names the history: after a confirmed restore a new one starts. */
  readonly id: string;
  readonly position: number;
}

/**
 * Stores the mark outside the backups of the store, so that a store restored to an earlier moment ends before it. All replicas
 * share one.
 */
export interface HistoryMarks {
  /** @throws Error when it cannot be read, or is no mark */
  read(): Promise<HistoryMark | undefined>;
  /** Atomic, and durable when it resolves. */
  write(mark: HistoryMark): Promise<void>;
}

/** A mark in memory, for tests. */
export const memoryHistoryMarks = (): HistoryMarks => {
  let mark: HistoryMark | undefined;
  return {
    read: async () => mark,
    async write(next) {
      mark = next;
    },
  };
};

/** A mark in a file of its own. The folder exists. */
export const fileHistoryMarks = (file: string, random: Pick<Random, 'uuid'>): HistoryMarks => ({
  async read() {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    });
    return text === undefined ? undefined : parsed(text, file);
  },
  async write(mark) {
    const draft = join(dirname(file), `history.${random.uuid()}.new`);
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(mark)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
    const folder = await open(dirname(file));
    await folder.sync().finally(() => folder.close());
  },
});

const parsed = (text: string, file: string): HistoryMark => {
  try {
    const { id, position }: Partial<HistoryMark> = JSON.parse(text);
    if (typeof id === 'string' && id !== '' && Number.isSafeInteger(position))
      return { id, position: Number(position) };
  } catch {
    // Handled like any other file that is no mark.
  }
  throw new Error(
    `${file} is not a mark of the store's history, so a restore of the store cannot be detected. ` +
      'Check the key states, delete the file, and start key-vault with HOLD',
  );
};
