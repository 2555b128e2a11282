import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import type { OutputFlags } from '../session/environment.ts';
import { aligned } from './align.ts';
import { WIDTH_DEFAULT } from './render.ts';
import type { Terminal } from './terminal.ts';

/** Formats of a response: a document for programs, a table that fits the terminal, or a table with every column. */
export const formats = ['json', 'yaml', 'table', 'wide'] as const;

/** One of them. */
export type Format = (typeof formats)[number];

/** How the response of a command is shown. */
export interface Output {
  /** Whether responses are documents for programs. */
  readonly isDocument: boolean;
  /** Width of a table, in characters; Infinity shows every column in full. */
  readonly width: number;
  /** Writes a response, or the part that the query selects, as a document. */
  write(json: JsonValue): void;
  /** Writes one of several responses: JSON on one line, YAML as a separate document. */
  writeNext(json: JsonValue): void;
}

/** Whether errors are JSON documents; needed before the flags are parsed. */
export const wantsDocument = (args: readonly string[]): boolean =>
  args.some(
    (arg, index) =>
      arg === '--json' ||
      /^(-o|--format)=?(json|yaml)$/.test(arg) ||
      /^(-o|--format) (json|yaml)$/.test(`${args[index - 1]} ${arg}`),
  );

/** @throws UsageError for contradicting flags and an invalid query */
export async function outputOf(flags: OutputFlags, terminal: Pick<Terminal, 'out' | 'width'>): Promise<Output> {
  const format = formatOf(flags);
  const take = flags.query === undefined ? undefined : await queryOf(flags.query);
  const isTable = format === 'table' || format === 'wide';
  const form = await formOf(format);
  const taken = (json: JsonValue): JsonValue => (take === undefined ? json : take(json));
  return {
    // A query changes the shape of the response, so the columns of its type do not apply.
    isDocument: !isTable || take !== undefined,
    width: format === 'wide' ? Number.POSITIVE_INFINITY : (terminal.width ?? WIDTH_DEFAULT),
    write: (json) => terminal.out(form.whole(taken(json))),
    writeNext: (json) => terminal.out(form.next(taken(json))),
  };
}

function formatOf({ format: named, json, wide, query }: OutputFlags): Format {
  if (wide === true && (named !== undefined || json === true))
    throw new UsageError(`--wide is -o wide: give one of --wide and ${json === true ? '--json' : `-o ${named}`}`);
  const format = wide === true ? 'wide' : named;
  if (format === undefined) return json === true || query !== undefined ? 'json' : 'table';
  const chosen = choiceOf(format, formats, '-o');
  if (json === true && chosen !== 'json')
    throw new UsageError(`--json is -o json: give one of --json and -o ${chosen}`);
  return chosen;
}

/** How documents are written. */
interface Form {
  whole(json: JsonValue): string;
  next(json: JsonValue): string;
}

async function formOf(format: Format): Promise<Form> {
  if (format === 'json')
    return { whole: (json) => JSON.stringify(json, undefined, 2), next: (json) => JSON.stringify(json) };
  if (format !== 'yaml') return { whole: plainTable, next: plainTable };
  const { yamlText } = await import('@interlock/lab/yaml-text');
  const whole = (json: JsonValue): string => yamlText(json).trimEnd();
  return { whole, next: (json) => `---\n${whole(json)}` };
}

/** @throws UsageError for an invalid JMESPath */
async function queryOf(query: string): Promise<(json: JsonValue) => JsonValue> {
  const { compile, TreeInterpreter } = await import('@jmespath-community/jmespath');
  try {
    const compiled = compile(query);
    return (json) => {
      try {
        return TreeInterpreter.search(compiled, json) as JsonValue;
      } catch (error) {
        throw new UsageError(`--query "${query}" does not fit the response: ${textOf(error)}`, { cause: error });
      }
    };
  } catch (error) {
    throw new UsageError(`--query "${query}" is not JMESPath: ${textOf(error)}. See https://jmespath.org`, {
      cause: error,
    });
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The result of a query for people and shell scripts: objects as rows, other values one per line. */
function plainTable(value: JsonValue): string {
  const rows = Array.isArray(value) ? value : [value];
  if (!rows.every((row) => typeof row === 'object' && row !== null && !Array.isArray(row)))
    return rows.map(plain).join('\n');
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row as JsonObject)))];
  return aligned([
    titles.map((title) => title.toUpperCase()),
    ...rows.map((row) => titles.map((title) => plain((row as JsonObject)[title] ?? null))),
  ]);
}

const plain = (value: JsonValue): string =>
  value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
