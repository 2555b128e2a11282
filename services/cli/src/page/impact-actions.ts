/** A kind of what can be taken away: a key of a vault, the identity of a set, a disk host. */
export type ImpactKind = 'key' | 'version' | 'vault' | 'identity' | 'host';

/** What can happen to each kind, with its words on the page. The first one is meant if none is chosen. */
export const impactActions: Readonly<Record<ImpactKind, readonly (readonly [action: string, words: string])[]>> = {
  key: [
    ['DISABLE', 'is disabled'],
    ['EXPIRE', 'expires'],
    ['DELETE', 'is deleted'],
    ['PURGE', 'is purged'],
  ],
  version: [
    ['DISABLE', 'is disabled'],
    ['EXPIRE', 'expires'],
  ],
  vault: [
    ['DELETE', 'is deleted'],
    ['PURGE', 'is purged'],
  ],
  identity: [['REVOKE', 'loses its grants']],
  host: [['LOSE', 'is away']],
};
