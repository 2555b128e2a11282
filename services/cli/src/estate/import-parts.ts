import type { JsonObject } from '@bufbuild/protobuf';
import type { EstateFile } from '@interlock/lab';
import type { Session } from '../session/session.ts';

export interface ImportOptions {
  /** Suffix of the names of vaults, after a hyphen; empty: none. */
  readonly vaultSuffix: string;
  /** Which machines write to their disks and check them: `new disks` means those whose disks are all made by the import. */
  readonly writing: 'never' | 'new disks' | 'always';
}

/** How long one resource may take without `--timeout`, in milliseconds. A key takes seconds on a busy machine. */
export const WAIT_MS = 120_000;

/** What the parts of an import work with. */
export interface ImportParts extends ImportOptions {
  readonly estate: EstateFile;
  /** `subscriptions/{s}/resourceGroups/{g}`. */
  readonly parent: string;
  readonly session: Session;
  /** Resources that exist, by full name. */
  readonly existing: ReadonlyMap<string, JsonObject>;
  /** Reports a resource that was made. @param what `disk d1` */
  made(what: string): void;
  /** Reports what the user should know of the result, in a sentence. */
  note(text: string): void;
}
