import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import type { OutputFlags } from '../session/environment.ts';
import { WIDTH_DEFAULT } from './render.ts';
import type { Terminal } from './terminal.ts';

/** Forms of an answer: for people in columns that fit the terminal, in all columns, or a document for programs. */
export const formats = ['json', 'yaml', 'table', 'wide'] as const;

/** One of them. */
export type Format = (typeof formats)[number];

/** How the answer of a command is shown. */
export interface Output {
  /** Whether answers are documents for programs, and not texts for people. */
  readonly isDocument: boolean;
  /** How wide a table may be, in characters; Infinity: every column in full. */
  readonly width: number;
  /** Shows an answer as a document: what the query takes of it. */
  write(json: JsonValue): void;
  /** The same for one of many answers, as they come: JSON on one line, YAML as a document of its own. */
  writeNext(json: JsonValue): void;
}

/** Whether errors are documents as well; known before anything is parsed. YAML is a superset of JSON, so they are JSON then. */
export const wantsDocument = (args: readonly string[]): boolean =>
  args.some(
    (arg, index) =>
      arg === '--json' ||
      /^(-o|--format)=?(json|yaml)$/.test(arg) ||
      /^(-o|--format) (json|yaml)$/.test(`${args[index - 1]} ${arg}`),
  );

/** @throws UsageError for flags that contradict each other, and a query that is none; nothing has been sent by then */
export async function outputOf(flags: OutputFlags, terminal: Pick<Terminal, 'out' | 'width'>): Promise<Output> {
  const format = formatOf(flags);
  const take = flags.query === undefined ? undefined : await queryOf(flags.query);
  const isTable = format === 'table' || format === 'wide';
  const form = await formOf(format);
  const taken = (json: JsonValue): JsonValue => (take === undefined ? json : take(json));
  return {
    // What a query takes has another shape than the answer, so it is a document however it is shown.
    isDocument: !isTable || take !== undefined,
    width: format === 'wide' ? Number.POSITIVE_INFINITY : (terminal.width ?? WIDTH_DEFAULT),
    write: (json) => terminal.out(form.whole(taken(json))),
    writeNext: (json) => terminal.out(form.next(taken(json))),
  };
}

function formatOf({ format, json, query }: OutputFlags): Format {
  if (format === undefined) return json === true || query !== undefined ? 'json' : 'table';
  const chosen = choiceOf(format, formats, '-o');
  if (json === true && chosen !== 'json')
    throw new UsageError(`--json is -o json: give one of --json and -o ${chosen}`);
  return chosen;
}

/** How a document is written. */
interface Form {
  whole(json: JsonValue): string;
  next(json: JsonValue): string;
}

async function formOf(format: Format): Promise<Form> {
  if (format === 'json')
    return { whole: (json) => JSON.stringify(json, undefined, 2), next: (json) => JSON.stringify(json) };
  if (format !== 'yaml') return { whole: plainTable, next: plainTable };
  const { stringify } = await import('yaml');
  const whole = (json: JsonValue): string => stringify(json).trimEnd();
  return { whole, next: (json) => `---\n${whole(json)}` };
}

/** @throws UsageError for a text that is no JMESPath */
async function queryOf(query: string): Promise<(json: JsonValue) => JsonValue> {
  const { compile, TreeInterpreter } = await import('@jmespath-community/jmespath');
  try {
    const compiled = compile(query);
    return (json) => {
      try {
        return TreeInterpreter.search(compiled, json) as JsonValue;
      } catch (error) {
        throw new UsageError(`--query "${query}" does not fit the answer: ${wordsOf(error)}`, { cause: error });
      }
    };
  } catch (error) {
    throw new UsageError(`--query "${query}" is not JMESPath: ${wordsOf(error)}. See https://jmespath.org`, {
      cause: error,
    });
  }
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What a query took, for people and for shell scripts: objects as rows, anything else as it is, one a line. */
function plainTable(value: JsonValue): string {
  const rows = Array.isArray(value) ? value : [value];
  if (!rows.every((row) => typeof row === 'object' && row !== null && !Array.isArray(row)))
    return rows.map(plain).join('\n');
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row as JsonObject)))];
  const lines = [titles.map((title) => title.toUpperCase())];
  for (const row of rows) lines.push(titles.map((title) => plain((row as JsonObject)[title] ?? null)));
  const widths = titles.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const plain = (value: JsonValue): string =>
  value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
