import { nearest } from '@interlock/runtime/nearest';
import type { Problem } from '../experiment.ts';
import type { Document, Path } from './document.ts';

/** Collects the problems of a file. */
export interface Problems {
  /** Adds a problem at the line of the path. */
  add(path: Path, message: string, cure: string): void;
  /** Problems by line, each once. */
  readonly found: readonly Problem[];
}

export function problemsOf(document: Document): Problems {
  const found: Problem[] = [];
  return {
    add(path, message, cure) {
      const line = document.lineOf(path);
      const column = document.columnOf(path);
      if (!found.some((one) => one.line === line && one.message === message))
        found.push({ line, column, message, cure });
    },
    get found() {
      return found.toSorted((a, b) => a.line - b.line);
    },
  };
}

/** What to write instead of a name that does not exist. */
export function cureOfName(wrong: string, choices: readonly string[]): string {
  const near = nearest(wrong, choices);
  if (near !== undefined) return `Did you mean ${near}?`;
  return choices.length === 0 ? 'The file has none.' : `Write one of ${[...new Set(choices)].join(', ')}.`;
}

/** A path for an error text: `timeline[2].at`. */
export const pathText = (path: Path): string =>
  path.map((step, index) => (typeof step === 'number' ? `[${step + 1}]` : `${index > 0 ? '.' : ''}${step}`)).join('');

/** A value in an error, shortened. */
export function valueText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
