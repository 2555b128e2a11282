import type { EstateKey } from '../estate-file.ts';
import { keyUrlOf } from './ids.ts';
import type { TwinNotes } from './notes.ts';
import { kidOf, objectIn, type Row } from './rows.ts';

/** What `az keyvault key list` or `list-versions` says about a version. Times are milliseconds since the epoch. */
interface VersionFacts {
  /** Empty in a row of `key list`, which is about the newest version. */
  readonly version: string;
  readonly enabled: boolean;
  readonly createdMs: number;
  readonly expiresMs: number | undefined;
  readonly notBeforeMs: number | undefined;
  readonly row: Row;
}

/** Facts of each key, by `vault/key` in lower case. */
export type KeyFacts = ReadonlyMap<string, readonly VersionFacts[]>;

/** Reads rows of keys. A row that names no key is noted. */
export function keyFactsOf(rows: readonly Row[], notes: TwinNotes): KeyFacts {
  const found = new Map<string, VersionFacts[]>();
  for (const row of rows) {
    const url = keyUrlOf(kidOf(row));
    if (url === undefined) {
      notes.drop(`key ${kidOf(row)}`, 'its kid is not https://<vault>/keys/<key>');
      continue;
    }
    const attributes = objectIn(row, 'attributes');
    const facts: VersionFacts = {
      version: url.version,
      enabled: attributes.enabled !== false,
      createdMs: timeIn(attributes.created) ?? 0,
      expiresMs: timeIn(attributes.expires ?? attributes.exp),
      notBeforeMs: timeIn(attributes.notbefore ?? attributes.nbf),
      row,
    };
    const name = `${url.vault}/${url.key}`.toLowerCase();
    found.set(name, [...(found.get(name) ?? []), facts]);
  }
  return found;
}

/** An ISO time, or seconds since the epoch as Azure's REST interface has them. */
function timeIn(value: unknown): number | undefined {
  const ms = typeof value === 'number' ? value * 1_000 : typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** The ids of the versions that rows of `key list-versions` name, oldest first; empty without such rows. */
export const orderedVersions = (facts: KeyFacts, key: string): readonly string[] =>
  (facts.get(key.toLowerCase()) ?? [])
    .filter(({ version }) => version !== '')
    .toSorted((a, b) => a.createdMs - b.createdMs)
    .map(({ version }) => version);

/**
 * The states of the versions of a key, as far as rows say them.
 * @param versions ids, oldest first; one is empty if no row and no set names it
 * @param nowMs when the twin is made: a version that has expired is disabled in it
 */
export function versionStates(
  key: string,
  versions: readonly string[],
  facts: KeyFacts,
  { nowMs, notes }: { readonly nowMs: number; readonly notes: TwinNotes },
): NonNullable<EstateKey['versions']> {
  const all = facts.get(key.toLowerCase()) ?? [];
  // Which of several versions is the newest is only known from list-versions, which has a row for each.
  const newest = versions.length === 1 ? all.find(({ version }) => version === '') : undefined;
  return versions.map((id, index) => {
    const version = all.find((one) => one.version === id && id !== '') ?? newest;
    if (version === undefined) return 'enabled';
    const what = versions.length === 1 ? `key ${key}` : `version ${index + 1} of key ${key}`;
    const { enabled, expiresMs, notBeforeMs } = version;
    if (!enabled) return 'disabled';
    if (expiresMs !== undefined && expiresMs <= nowMs) {
      notes.change(what, `it expired at ${iso(expiresMs)}: it is disabled`);
      return 'disabled';
    }
    if (notBeforeMs !== undefined && notBeforeMs > nowMs) {
      notes.change(what, `it may be used from ${iso(notBeforeMs)} on: it is disabled`);
      return 'disabled';
    }
    if (expiresMs !== undefined)
      notes.change(
        what,
        `it expires at ${iso(expiresMs)}, and in the twin it does not: impact --action expire asks about that`,
      );
    return 'enabled';
  });
}

const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
