import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '@interlock/local/data-folder.ts';
import { parse } from 'yaml';

/** One step of a workflow or a composite action. */
export interface Step {
  readonly name?: string;
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string | number | boolean>>;
  readonly run?: string;
  readonly shell?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** action.yml of a composite action. */
export interface Action {
  readonly inputs: Readonly<
    Record<string, { readonly description: string; readonly default?: string; readonly required?: boolean }>
  >;
  readonly outputs: Readonly<Record<string, { readonly description: string; readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

/** A workflow file. */
export interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly steps: readonly Step[];
        readonly permissions?: Readonly<Record<string, string>>;
        readonly 'timeout-minutes'?: number;
      }
    >
  >;
}

/** The action that runs an experiment, for workflows of other repositories. */
export const experimentAction = '.github/actions/experiment/action.yml';

/** Parses a YAML file. @param path from the root of the repository */
export const readYaml = <T>(path: string): T => parse(readFileSync(join(repository, path), 'utf8')) as T;

/** Fills in `${{ inputs.<name> }}`. @throws Error for any other expression, and for an input that does not exist */
export const withInputs = (text: string, inputs: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\$\{\{ *(.*?) *\}\}/g, (_, expression: string) => {
    const value = inputs[/^inputs\.([\w-]+)$/.exec(expression)?.[1] ?? ''];
    if (value === undefined) throw new Error(`the expression ${expression} has no value`);
    return value;
  });
