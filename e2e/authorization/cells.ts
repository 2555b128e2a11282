import type { Names } from './names.ts';
import { scopeInVault } from './names.ts';
import { type CallerName, permissionText, type RoleRule, type Rule, type VaultRule } from './rule.ts';
import { type Permission, type PrincipalWho, principal, type Role, type RoleName, services, type Who } from './who.ts';

/** An expected refusal: its code, its reason, and what its metadata must contain. */
export interface Refusal {
  readonly code: string;
  readonly reason: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** One caller of one RPC and the expected outcome. */
export interface Cell {
  readonly caller: CallerName;
  readonly who: Who;
  /** The defect of the bearer token, if any. */
  readonly token: 'good' | 'wrong audience' | 'expired';
  /** `served`: the request passes authorization, whatever its result. */
  readonly expected: 'served' | Refusal;
}

const anonymous: Who = { kind: 'anonymous' };
const stranger = principal([]);
const denied = (metadata: Readonly<Record<string, string>> = {}): Refusal => ({
  code: 'PERMISSION_DENIED',
  reason: 'ACCESS_DENIED',
  metadata,
});
const notThatService: Refusal = { code: 'PERMISSION_DENIED', reason: 'WORKLOAD_REQUIRED' };
const cell = (caller: CallerName, who: Who, expected: Cell['expected'], token: Cell['token'] = 'good'): Cell => ({
  caller,
  who,
  expected,
  token,
});

/** Every cell of a rule: all six callers, some of them in several variants. */
export const cellsOf = (rule: Rule, names: Names): readonly Cell[] => {
  switch (rule.kind) {
    case 'public':
      return [
        cell('anonymous', anonymous, 'served'),
        cell('token for another audience', stranger, 'served', 'wrong audience'),
        cell('expired token', stranger, 'served', 'expired'),
        cell('principal of another tenant', otherTenant(names), 'served'),
        cell('without the grant', stranger, 'served'),
        cell('the right one', stranger, 'served'),
      ];
    case 'everybody':
      return [
        ...badTokens(stranger),
        cell('principal of another tenant', otherTenant(names), 'served'),
        cell('without the grant', stranger, 'served'),
        cell('the right one', principal([{ role: 'reader', at: names.tenant }]), 'served'),
      ];
    case 'workload':
      return workloadCells(rule.services, names, rule.orAboutItself === true ? denied() : notThatService);
    case 'role':
      return roleCells(rule, names);
    case 'vault':
      return rule.model === 'policyVault' ? policyCells(rule, names) : keyRoleCells(rule, names);
    case 'own':
      return [
        ...rule.refused.map(({ caller, who, code, reason }) => cell(caller, who, { code, reason })),
        cell('principal of another tenant', otherTenant(names), missingDiskToken),
        ...(rule.right ? [cell('the right one', rule.right, 'served')] : []),
      ];
  }
};

/** DiskDataService accepts access tokens of disks; bearer tokens do not count. */
const missingDiskToken: Refusal = { code: 'UNAUTHENTICATED', reason: 'DISK_ACCESS_TOKEN_MISSING' };

/** Invalid tokens of a permitted caller (KV-80, KV-81). */
const badTokens = (right: Who): readonly Cell[] => [
  cell('anonymous', anonymous, { code: 'UNAUTHENTICATED', reason: 'TOKEN_MISSING' }),
  cell(
    'token for another audience',
    right,
    { code: 'UNAUTHENTICATED', reason: 'TOKEN_WRONG_AUDIENCE' },
    'wrong audience',
  ),
  cell('expired token', right, { code: 'UNAUTHENTICATED', reason: 'TOKEN_EXPIRED' }, 'expired'),
];

/** A principal of another tenant that holds every role by mistake. */
const otherTenant = ({ tenant, subscription }: Names): PrincipalWho => ({
  kind: 'principal',
  tenant: 'other',
  roles: [tenant, subscription].flatMap((at): Role[] => [
    { role: 'owner', at },
    { role: 'keyVaultAdministrator', at },
  ]),
  policies: [
    { vault: 'policyVault', permissions: ['ALL'] },
    { vault: 'roleVault', permissions: ['ALL'] },
  ],
});

const workloadCells = (may: readonly (typeof services)[number][], names: Names, refusal: Refusal): readonly Cell[] => {
  const right = may.map((service): Who => ({ kind: 'service', service }));
  const others = services
    .filter((service) => !may.includes(service))
    .map((service): Who => ({ kind: 'service', service }));
  const everything = principal([
    { role: 'owner', at: '/' },
    { role: 'keyVaultAdministrator', at: '/' },
  ]);
  return [
    ...badTokens(right[0] ?? anonymous),
    cell('principal of another tenant', otherTenant(names), refusal),
    ...[everything, ...others].map((who) => cell('without the grant', who, refusal)),
    ...right.map((who) => cell('the right one', who, 'served')),
  ];
};

const roleCells = ({ needs, exempt }: RoleRule, names: Names): readonly Cell[] => {
  const opening = needs.map(({ opens, at }): Role => ({ role: opens, at: at.of(names) }));
  const right = principal(opening);
  const last = needs.at(-1);
  if (!last) throw new Error('a role rule needs an action');
  const refusal = denied({ action: last.action, scope: last.at.of(names) });
  // Of several needs that are missing any may be named.
  const allMissing = needs.length === 1 ? refusal : denied();
  const isOnVault = last.action.startsWith('keyVault/vaults/');
  // Almost enough: the roles of the other scopes, a lesser role at this one, and every role at scopes next to it and below it.
  const nearly = principal([
    ...opening.slice(0, -1),
    { role: last.near, at: last.at.of(names) },
    ...beside(last.at.of(names), names),
  ]);
  return [
    ...badTokens(right),
    // Another tenant must not learn where a vault is, so the refusal has no scope.
    cell('principal of another tenant', otherTenant(names), isOnVault ? denied() : allMissing),
    cell('without the grant', stranger, allMissing),
    cell('without the grant', nearly, refusal),
    ...(exempt ? [cell('without the grant', { kind: 'service', service: exempt.not } as const, denied())] : []),
    cell('the right one', right, 'served'),
    ...(exempt?.services ?? []).map((service) => cell('the right one', { kind: 'service', service }, 'served')),
  ];
};

/** Every role at scopes that do not contain this one. */
const beside = (scope: string, { platform, tenant, subscription, siblingGroup }: Names): readonly Role[] => {
  const scopes = scope === platform ? [tenant, subscription] : [siblingGroup];
  return scopes.flatMap((at): Role[] => [
    { role: 'owner', at },
    { role: 'keyVaultAdministrator', at },
  ]);
};

const permissions: readonly Permission[] = [
  ...(['GET', 'LIST', 'CREATE', 'IMPORT', 'UPDATE', 'DELETE', 'RECOVER', 'PURGE', 'BACKUP', 'RESTORE'] as const),
  ...(['ENCRYPT', 'DECRYPT', 'WRAP_KEY', 'UNWRAP_KEY', 'SIGN', 'VERIFY', 'RELEASE', 'ROTATE'] as const),
  ...(['GET_ROTATION_POLICY', 'SET_ROTATION_POLICY'] as const),
];

/** Access policies decide, and roles on keys do not count (KV-70, KV-82, CMK-27). */
const policyCells = ({ needs }: VaultRule, names: Names): readonly Cell[] => {
  const needed = [...new Set(needs.map(({ permission }) => permission))];
  const right = principal([], [{ vault: 'policyVault', permissions: needed }]);
  const { vault } = names.policyVault;
  const first = needed[0];
  if (first === undefined) throw new Error('a vault rule needs a permission');
  const rolesOnIt: readonly Role[] = [
    { role: 'owner', at: names.subscription },
    { role: 'keyVaultAdministrator', at: scopeInVault(names, vault) },
  ];
  return [
    ...badTokens(right),
    cell('principal of another tenant', otherTenant(names), denied({ vault })),
    cell('without the grant', principal(rolesOnIt), denied({ vault })),
    ...needed.map((lacking) => {
      const others = permissions.filter((permission) => permission !== lacking);
      const who = principal(rolesOnIt, [{ vault: 'policyVault', permissions: others }]);
      return cell('without the grant', who, denied({ vault, permission: permissionText(lacking) }));
    }),
    cell('the right one', right, 'served'),
  ];
};

/** A role that gives a permission on keys, and one that gives only other permissions (KV-73, CMK-26). */
const keyRoles = (permission: Permission): { readonly opens: RoleName; readonly near: RoleName } => {
  switch (permission) {
    case 'GET':
      return { opens: 'keyVaultCryptoServiceEncryptionUser', near: 'keyVaultPurgeOperator' };
    case 'LIST':
      return { opens: 'keyVaultReader', near: 'keyVaultCryptoServiceEncryptionUser' };
    case 'WRAP_KEY':
    case 'UNWRAP_KEY':
      return { opens: 'keyVaultCryptoServiceEncryptionUser', near: 'keyVaultReader' };
    case 'ENCRYPT':
    case 'DECRYPT':
    case 'SIGN':
    case 'VERIFY':
      return { opens: 'keyVaultCryptoUser', near: 'keyVaultCryptoServiceEncryptionUser' };
    case 'PURGE':
      return { opens: 'keyVaultPurgeOperator', near: 'keyVaultCryptoUser' };
    default:
      return { opens: 'keyVaultCryptoOfficer', near: 'keyVaultCryptoUser' };
  }
};

/** Roles decide, and access policies do not count. Owners manage keys but cannot use them (KV-70, KV-83, CMK-27). */
const keyRoleCells = ({ needs }: VaultRule, names: Names): readonly Cell[] => {
  const scoped = needs.map((one) => ({ ...one, at: scopeInVault(names, one.of(names.roleVault)) }));
  const last = scoped.at(-1);
  if (!last) throw new Error('a vault rule needs a permission');
  const opening = scoped.map(({ permission, at }): Role => ({ role: keyRoles(permission).opens, at }));
  const right = principal(opening);
  const here = scoped.filter(({ at }) => at === last.at);
  const management: readonly Role[] = [{ role: 'owner', at: names.subscription }, ...beside(last.at, names)];
  const policies = [{ vault: 'roleVault', permissions: ['ALL'] }] as const;
  const nearly = principal(
    [
      ...opening.filter(({ at }) => at !== last.at),
      { role: keyRoles(last.permission).near, at: last.at },
      ...management,
    ],
    policies,
  );
  const action = here.length === 1 ? { action: `keyVault/keys/${permissionText(last.permission)}` } : {};
  return [
    ...badTokens(right),
    cell('principal of another tenant', otherTenant(names), denied()),
    cell('without the grant', principal(management, policies), denied()),
    cell('without the grant', nearly, denied({ ...action, scope: last.at })),
    cell('the right one', right, 'served'),
  ];
};
