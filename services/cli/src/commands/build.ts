import { fileURLToPath } from 'node:url';
import manifest from '../../package.json' with { type: 'json' };

/** How this command line was built. */
export interface Build {
  /** From package.json: `0.1.0`. */
  readonly version: string;
  /** Git revision it was built from, `4bc4bbe` or `4bc4bbe-dirty`; undefined without git. */
  readonly revision: string | undefined;
  /** Root of the clone it belongs to; undefined in a package that is installed. */
  readonly clone: string | undefined;
}

/** The bundler (services/cli/bundle.ts) replaces it. */
declare const INTERLOCK_BUILD: Build | undefined;

/** This build. Sources belong to their clone. */
export const build: Build =
  typeof INTERLOCK_BUILD === 'undefined'
    ? { version: manifest.version, revision: undefined, clone: fileURLToPath(new URL('../../../..', import.meta.url)) }
    : INTERLOCK_BUILD;

/** The line of `--version`. */
export const versionLine = ({ version, revision }: Build): string =>
  `interlock ${version}${revision === undefined ? '' : ` (${revision})`}`;
