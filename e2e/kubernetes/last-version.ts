import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '@interlock/local/data-folder.ts';
import type { FrozenObjects } from './immutable-fields.ts';

/** What the last version has that a cluster does not let the next one change. */
export interface LastVersion {
  /** The commit of the overlays. */
  readonly commit: string;
  /** By overlay. */
  readonly overlays: Readonly<Record<string, FrozenObjects>>;
  /** Names of the Secrets to which an overlay refers. */
  readonly secrets: Readonly<Record<string, readonly string[]>>;
  /** The commit of the chart: another one while the last version has no chart. */
  readonly chartCommit: string;
  /** With default values. */
  readonly chart: FrozenObjects;
}

/** Written by write-last-version.ts. */
export const lastVersionFile = join(repository, 'e2e/kubernetes/last-version.json');

/** The last version that runs in clusters. */
export const readLastVersion = (): LastVersion => JSON.parse(readFileSync(lastVersionFile, 'utf8'));
