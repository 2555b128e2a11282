import type { IndexEntry } from '@interlock/event-store';
import { keyVersionsOf, type SetBody } from './state.ts';

/** Sets and versions that a change concerns: everything at or under `path`. */
export interface Reach {
  readonly index: IndexEntry;
  /** `vaults/<v>`, `vaults/<v>/keys/<k>`, a key version, or empty for every version. */
  readonly path: string;
  /** `principals/<uuid>`: only sets with this identity. Default: any. */
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

/** The set with this identity, as long as it has it; `path` limits it to a grant. */
export const ofPrincipal = (principal: string, path: string): Reach => ({
  index: { index: 'principal', value: principal },
  path,
  principal,
});

const isReached = ({ path }: Reach, keyVersion: string): boolean =>
  path === '' || keyVersion === path || keyVersion.startsWith(`${path}/`);

/** The reached versions of a set, the active one first. */
export const reachedVersions = (reach: Reach, set: SetBody): readonly string[] =>
  reach.principal === undefined || reach.principal === set.principal
    ? keyVersionsOf(set).filter((keyVersion) => isReached(reach, keyVersion))
    : [];
