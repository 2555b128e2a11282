import type { IndexEntry } from '@interlock/event-store';
import { keyVersionsOf, type SetBody } from './state.ts';

/** Which sets something is about, and which of their versions: everything at or under `path`. */
export interface Reach {
  readonly index: IndexEntry;
  /** `vaults/<v>`, `vaults/<v>/keys/<k>`, a key version, or empty for every version. */
  readonly path: string;
  /** `principals/<uuid>`: only as long as the set has this identity; absent: whichever it has. */
  readonly principal?: string;
}

/** One key version. */
export const ofVersion = (keyVersion: string): Reach => ({
  index: { index: 'keyVersion', value: keyVersion },
  path: keyVersion,
});

/** Every version of a key. */
export const ofKey = (key: string): Reach => ({ index: { index: 'key', value: key }, path: key });

/** Every key of a vault. */
export const ofVault = (vault: string): Reach => ({ index: { index: 'vault', value: vault }, path: vault });

/**
 * The set with this identity; `path` narrows to what a grant of it was about. The set may have another one by the time it is
 * decided: what became of the earlier one is none of its business then.
 */
export const ofPrincipal = (principal: string, path: string): Reach => ({
  index: { index: 'principal', value: principal },
  path,
  principal,
});

/** Whether a key version lies at or under the path. */
const isReached = ({ path }: Reach, keyVersion: string): boolean =>
  path === '' || keyVersion === path || keyVersion.startsWith(`${path}/`);

/** The versions of a set that are reached, the active one first. */
export const reachedVersions = (reach: Reach, set: SetBody): readonly string[] =>
  reach.principal === undefined || reach.principal === set.principal
    ? keyVersionsOf(set).filter((keyVersion) => isReached(reach, keyVersion))
    : [];
