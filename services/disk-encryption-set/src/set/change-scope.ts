import type { IndexEntry } from '@interlock/event-store';
import { keyVersionsOf, type SetBody } from './state.ts';

/** Sets and versions that a change concerns: everything at or under `path`. */
export interface ChangeScope {
  readonly index: IndexEntry;
  /** `vaults/<v>`, `vaults/<v>/keys/<k>`, a key version, or empty for every version. */
  readonly path: string;
  /** `principals/<uuid>`: only sets with this identity. Default: any. */
  readonly principal?: string;
}

/** One key version. */
export const ofVersion = (keyVersion: string): ChangeScope => ({
  index: { index: 'keyVersion', value: keyVersion },
  path: keyVersion,
});

/** Every version of a key. */
export const ofKey = (key: string): ChangeScope => ({ index: { index: 'key', value: key }, path: key });

/** Every key of a vault. */
export const ofVault = (vault: string): ChangeScope => ({ index: { index: 'vault', value: vault }, path: vault });

/** The set with this identity, as long as it has it; `path` limits it to a grant. */
export const ofPrincipal = (principal: string, path: string): ChangeScope => ({
  index: { index: 'principal', value: principal },
  path,
  principal,
});

const isInScope = ({ path }: ChangeScope, keyVersion: string): boolean =>
  path === '' || keyVersion === path || keyVersion.startsWith(`${path}/`);

/** The reached versions of a set, the active one first. */
export const versionsInScope = (reach: ChangeScope, set: SetBody): readonly string[] =>
  reach.principal === undefined || reach.principal === set.principal
    ? keyVersionsOf(set).filter((keyVersion) => isInScope(reach, keyVersion))
    : [];
