import type { Workload } from '@interlock/rpc';
import { type Names, scopeInVault, type VaultNames } from './names.ts';
import type { Permission, RoleName, Who } from './who.ts';

/** The scope that a role needs, and its name in the docs. */
export interface Scope {
  readonly words: string;
  of(names: Names): string;
}

/** An action at a scope. `opens` is a role that allows it, `near` one that does not, although it allows much else. */
export interface Need {
  readonly action: string;
  readonly at: Scope;
  readonly opens: RoleName;
  readonly near: RoleName;
}

/** A role, and for some requests another role at a second scope. */
export interface RoleRule {
  readonly kind: 'role';
  readonly needs: readonly Need[];
  /** What the action alone does not show. */
  readonly note?: string;
  /** Services that need no role, and one that does. */
  readonly exempt?: { readonly services: readonly Workload[]; readonly not: Workload };
}

/** A permission on a key, or on the vault if the request names no key. */
export interface KeyNeed {
  readonly permission: Permission;
  of(vault: VaultNames): string;
}

/** Grants on a vault, by one of its two permission models. */
export interface VaultRule {
  readonly kind: 'vault';
  readonly model: 'policyVault' | 'roleVault';
  readonly needs: readonly KeyNeed[];
}

/** A rule for one RPC, with the refusal of each caller. */
export interface OwnRule {
  readonly kind: 'own';
  readonly words: string;
  /** Absent if no role allows it. */
  readonly right?: Who;
  readonly refused: readonly {
    readonly caller: CallerName;
    readonly who: Who;
    readonly code: string;
    readonly reason: string;
  }[];
}

/** Who may call. */
export type Rule =
  | { readonly kind: 'public' }
  | {
      readonly kind: 'workload';
      readonly services: readonly Workload[];
      /** Other callers may call it about themselves, so a call about another principal is refused with ACCESS_DENIED. */
      readonly orAboutItself?: boolean;
    }
  | { readonly kind: 'everybody'; readonly words: string }
  | RoleRule
  | VaultRule
  | OwnRule;

/** The callers every RPC meets. */
export type CallerName =
  | 'anonymous'
  | 'token for another audience'
  | 'expired token'
  | 'principal of another tenant'
  | 'without the grant'
  | 'the right one';

const scope = (words: string, of: (names: Names) => string): Scope => ({ words, of });

/** The scopes of the table. */
export const on = {
  platform: scope('the platform', ({ platform }) => platform),
  tenant: scope('the tenant', ({ tenant }) => tenant),
  itsTenant: scope('its tenant', ({ tenant }) => tenant),
  subscription: scope('the subscription', ({ subscription }) => subscription),
  parent: scope('the parent', ({ group }) => group),
  itsScope: scope('its scope', ({ group }) => group),
  vault: scope('the vault', (names) => scopeInVault(names, names.policyVault.vault)),
  vaultWithRoles: scope('the vault', (names) => scopeInVault(names, names.roleVault.vault)),
  newVault: scope('the new vault', (names) => scopeInVault(names, `vaults/new-${names.tag}`)),
  set: scope('the set', ({ set }) => set),
  disk: scope('the disk', ({ disk }) => disk),
  readOnlyDisk: scope('the disk', ({ readOnlyDisk }) => readOnlyDisk),
  missingDisk: scope('the disk', ({ missingDisk }) => missingDisk),
  usedDisk: scope('the disk it is made from', ({ usedDisk }) => usedDisk),
  usedSnapshot: scope('the snapshot it is made from', ({ usedSnapshot }) => usedSnapshot),
  attachedDisk: scope('the disk', ({ usedDisk }) => usedDisk),
  newDisk: scope('each new disk', ({ newDisk }) => newDisk),
  snapshot: scope('the snapshot', ({ missingSnapshot }) => missingSnapshot),
  machine: scope('the machine', ({ missingMachine }) => missingMachine),
  eachMachine: scope('each machine', ({ missingMachine }) => missingMachine),
  idleMachine: scope('the machine', ({ idleMachine }) => idleMachine),
  newMachine: scope('the new machine', ({ newMachine }) => newMachine),
} as const;

/** An action at a scope. By default a reader may read; anything else needs a contributor, and a reader is refused. */
export const need = (
  action: string,
  at: Scope,
  roles: { readonly opens?: RoleName; readonly near?: RoleName } = {},
): Need => {
  const isRead = action.endsWith('/read');
  return {
    action,
    at,
    opens: roles.opens ?? (isRead ? 'reader' : 'contributor'),
    near: roles.near ?? (isRead ? 'keyVaultCryptoServiceEncryptionUser' : 'reader'),
  };
};

/** Requires a role with each of these actions. */
export const role = (...needs: readonly Need[]): RoleRule => ({ kind: 'role', needs });

/** The same, but these services need no role. @param not a service that needs one */
export const roleOr = (exempt: readonly Workload[], not: Workload, ...needs: readonly Need[]): RoleRule => ({
  kind: 'role',
  needs,
  exempt: { services: exempt, not },
});

/** Only these services. */
export const workload = (...services: readonly Workload[]): Rule => ({ kind: 'workload', services });

/** Every verified principal. @param words the reason why that is right */
export const everybody = (words: string): Rule => ({ kind: 'everybody', words });

/** Every caller, also without a token. */
export const anybody: Rule = { kind: 'public' };

/** Permissions as the vault, its record and the actions of roles name them (KV-72). */
export const permissionText = (permission: Permission): string => {
  if (permission === 'GET_ROTATION_POLICY' || permission === 'SET_ROTATION_POLICY') {
    return permission.toLowerCase().replaceAll('_', '');
  }
  return permission.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
};

/** A rule as docs/authorization.md describes it: public, workload, role, vault or own. */
export const ruleInWords = (rule: Rule): string => {
  switch (rule.kind) {
    case 'public':
      return 'public';
    case 'workload':
      return `workload: ${rule.services.join(', ')}${rule.orAboutItself === true ? '; other callers about themselves' : ''}`;
    case 'everybody':
      return `own: every verified principal; ${rule.words}`;
    case 'role': {
      const needs = rule.needs.map(({ action, at }) => `${action} on ${at.words}`).join(', and ');
      if (rule.exempt) return `own: role ${needs}; or workload ${rule.exempt.services.join(', ')}`;
      return rule.note === undefined ? `role: ${needs}` : `own: role ${needs}; ${rule.note}`;
    }
    case 'vault':
      // Of two keys it may need the same.
      return `vault: ${[...new Set(rule.needs.map(({ permission }) => permissionText(permission)))].join(', ')}`;
    case 'own':
      return `own: ${rule.words}`;
  }
};
