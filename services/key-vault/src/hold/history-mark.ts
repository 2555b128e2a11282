/** How far the history of this service is known to have come. */
export interface HistoryMark {
  /** Names the history the position is of: a new one for what goes on after a restore. */
  readonly id: string;
  /** A position its store had reached. */
  readonly position: number;
}

/**
 * Keeps the mark where the backups of the store do not reach: a store that is restored to an earlier moment then ends before
 * it. One for all replicas.
 */
export interface HistoryMarks {
  /** @throws Error when it cannot be read, or is no mark */
  read(): Promise<HistoryMark | undefined>;
  /** Whole or not at all, and durable when it resolves. */
  write(mark: HistoryMark): Promise<void>;
}

/** A mark that lasts as long as the process: for tests. */
export const memoryHistoryMarks = (): HistoryMarks => {
  let mark: HistoryMark | undefined;
  return {
    read: async () => mark,
    async write(next) {
      mark = next;
    },
  };
};
