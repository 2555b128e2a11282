import { gunzipSync, gzipSync } from 'node:zlib';

/** Longest piece in a line, in characters: container runtimes split lines of 16 KiB. */
const PIECE_CHARS = 12_000;
const MARK = 'interlock-file';

/**
 * A file as lines of a log, for a pod that has no shell to copy from and ends when its work is done. Every cluster keeps
 * the log.
 */
export const reportLines = (name: string, content: Uint8Array): readonly string[] => {
  const text = gzipSync(content).toString('base64');
  const pieces = Array.from({ length: Math.ceil(text.length / PIECE_CHARS) }, (_, n) =>
    text.slice(n * PIECE_CHARS, (n + 1) * PIECE_CHARS),
  );
  return pieces.map((piece, n) => `${MARK} ${name} ${n + 1}/${pieces.length} ${piece}`);
};

/** Consumes the lines of a log one by one and returns the files in them. */
export interface ReportReader {
  /** @returns whether the line was part of a file, which need not be shown */
  take(line: string): boolean;
  /** Files that arrived whole, by name. @throws Error naming a file of which pieces are missing */
  files(): ReadonlyMap<string, Buffer>;
}

/** Reads what `reportLines` wrote. */
export const reportReader = (): ReportReader => {
  const found = new Map<string, { readonly count: number; readonly pieces: Map<number, string> }>();
  return {
    take(line) {
      const [, name, number, count, piece] = new RegExp(`^${MARK} (\\S+) (\\d+)/(\\d+) (\\S+)$`).exec(line) ?? [];
      if (name === undefined || piece === undefined) return false;
      const file = found.get(name) ?? { count: Number(count), pieces: new Map<number, string>() };
      file.pieces.set(Number(number), piece);
      found.set(name, file);
      return true;
    },
    files: () =>
      new Map(
        [...found].map(([name, { count, pieces }]) => {
          if (pieces.size !== count) throw new Error(`of ${name} only ${pieces.size} of ${count} pieces arrived`);
          const text = Array.from({ length: count }, (_, n) => pieces.get(n + 1)).join('');
          return [name, gunzipSync(Buffer.from(text, 'base64'))];
        }),
      ),
  };
};
