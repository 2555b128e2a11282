import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Random } from '@interlock/runtime';
import type { HistoryMark, HistoryMarks } from './history-mark.ts';

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
    // As one that is something else.
  }
  throw new Error(
    `${file} is no mark of a history: whether the store was restored to an earlier moment cannot be told. ` +
      'Look at the keys, delete the file, and start key-vault with HOLD',
  );
};
