import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { rowsOf } from './row.ts';
import { anybody, everybody, need, on, role, roleOr, workload } from './rule.ts';
import { services } from './who.ts';

/** An etag that no stream reaches: a permitted caller gets ETAG_MISMATCH, and nothing changes for the other cells. */
const staleEtag = '999999';
/** UUIDs of what permitted callers create. */
const newPrincipal = '6f1c1f5e-53a2-4f0e-9d53-0e6a3c3f0a01';
const newIdentity = '6f1c1f5e-53a2-4f0e-9d53-0e6a3c3f0a02';
const newAssignments = ['6f1c1f5e-53a2-4f0e-9d53-0e6a3c3f0a03', '6f1c1f5e-53a2-4f0e-9d53-0e6a3c3f0a04'] as const;

/** Owners assign roles; contributors do everything else (KV-74). */
const assigning = { opens: 'owner', near: 'contributor' } as const;

/** A caller that acts as a service would be above every tenant. */
const ofService = (action: string, roles: Parameters<typeof need>[2] = {}) => ({
  when: 'the principal of a service',
  rule: role(need(action, on.platform, roles)),
});

/** Who may call identity. */
export const identityTable = rowsOf(
  'identity',
  IdentityServiceDefinition,
)({
  createTenant: {
    rule: role(need('identity/tenants/write', on.platform)),
    request: ({ tag }) => ({ tenantId: `made-${tag}` }),
  },
  getTenant: { rule: role(need('identity/tenants/read', on.tenant)), request: ({ tenant }) => ({ name: tenant }) },
  listTenants: { rule: role(need('identity/tenants/read', on.platform)), request: () => ({}) },
  createSubscription: {
    rule: role(need('identity/subscriptions/write', on.platform)),
    request: ({ tag, otherTenant }) => ({ subscriptionId: `made-${tag}`, tenant: otherTenant }),
  },
  getSubscription: {
    rule: role(need('identity/subscriptions/read', on.subscription)),
    request: ({ subscription }) => ({ name: subscription }),
  },
  listSubscriptions: {
    rule: everybody('the subscriptions of a tenant are not secret'),
    request: ({ tenant }) => ({ tenant }),
  },
  createPrincipal: {
    rule: role(need('identity/principals/write', on.tenant)),
    request: ({ tenant }) => ({ principalId: newPrincipal, tenant, type: 'APPLICATION', displayName: 'made' }),
  },
  createManagedIdentity: {
    rule: workload('disk-encryption-set'),
    request: ({ tenant, group }) => ({ principalId: newIdentity, tenant, owner: `${group}/diskEncryptionSets/none` }),
  },
  getPrincipal: {
    rule: roleOr(['disk-encryption-set'], 'disk', need('identity/principals/read', on.itsTenant)),
    request: ({ principal }) => ({ name: principal }),
  },
  listPrincipals: {
    rule: role(need('identity/principals/read', on.tenant)),
    request: ({ tenant }) => ({ tenant, pageSize: 1 }),
  },
  deletePrincipal: [
    {
      rule: role(need('identity/principals/delete', on.itsTenant)),
      request: ({ principal }) => ({ name: principal, etag: staleEtag }),
    },
    {
      when: 'the identity of a set',
      rule: roleOr(['disk-encryption-set'], 'disk', need('identity/principals/delete', on.itsTenant)),
      request: ({ identity }) => ({ name: identity, confirmName: identity, etag: staleEtag }),
    },
    {
      ...ofService('identity/principals/delete'),
      request: ({ servicePrincipal }) => ({ name: servicePrincipal, etag: staleEtag }),
    },
  ],
  addSecret: [
    {
      // A secret of a principal gives its roles.
      rule: role(need('identity/principalSecrets/write', on.itsTenant, assigning)),
      request: ({ principal }) => ({ principal, secretId: 'added', etag: staleEtag }),
    },
    {
      ...ofService('identity/principalSecrets/write', assigning),
      request: ({ servicePrincipal }) => ({ principal: servicePrincipal, secretId: 'added', etag: staleEtag }),
    },
    {
      // A caller that adds a secret gets the principal's roles.
      when: 'a principal with a role on the platform',
      rule: role(need('identity/principalSecrets/write', on.platform, assigning)),
      request: ({ administrator }) => ({
        principal: `principals/${administrator.id}`,
        secretId: 'added',
        etag: staleEtag,
      }),
    },
  ],
  removeSecret: [
    {
      rule: role(need('identity/principals/write', on.itsTenant)),
      request: ({ principal }) => ({ principal, secretId: 'none', etag: staleEtag }),
    },
    {
      ...ofService('identity/principals/write'),
      request: ({ servicePrincipal }) => ({ principal: servicePrincipal, secretId: 'none', etag: staleEtag }),
    },
  ],
  issueToken: {
    rule: anybody,
    request: ({ administrator }) => ({
      clientId: administrator.id,
      clientSecret: administrator.secret,
      audience: 'interlock:identity',
    }),
  },
  issueManagedIdentityToken: {
    rule: workload('disk'),
    request: ({ identity }) => ({ principal: identity, audience: 'interlock:key-vault' }),
  },
  getJsonWebKeySet: { rule: anybody, request: () => ({}) },
  rotateSigningKey: {
    rule: role(need('identity/signingKeys/write', on.platform)),
    // Without a request id a permitted caller gets an error: services would not know a new key yet.
    request: () => ({ requestId: '' }),
  },
  listSigningKeys: { rule: role(need('identity/signingKeys/read', on.platform)), request: () => ({}) },
  listRoles: { rule: everybody('the list is the same for every caller'), request: () => ({}) },
  createRoleAssignment: [
    {
      rule: role(need('identity/roleAssignments/write', on.itsScope, assigning)),
      request: ({ principal, group }) => ({
        roleAssignmentId: newAssignments[0],
        principal,
        role: 'roles/operator',
        scope: group,
      }),
    },
    {
      when: 'a role that is not about keys',
      rule: {
        ...role(
          need('identity/roleAssignments/write', on.itsScope, {
            opens: 'owner',
            near: 'keyVaultDataAccessAdministrator',
          }),
        ),
        note: 'a caller that gives access to keys cannot make itself an owner',
      },
      request: ({ principal, group }) => ({
        roleAssignmentId: newAssignments[1],
        principal,
        role: 'roles/owner',
        scope: group,
      }),
    },
  ],
  getRoleAssignment: {
    rule: role(need('identity/roleAssignments/read', on.itsScope)),
    request: ({ roleAssignment }) => ({ name: roleAssignment }),
  },
  listRoleAssignments: [
    {
      rule: role(need('identity/roleAssignments/read', on.itsScope)),
      request: ({ group }) => ({ scope: group, pageSize: 1 }),
    },
    {
      when: 'wherever a principal has one',
      rule: role(need('identity/roleAssignments/read', on.platform)),
      request: ({ principal }) => ({ principal, pageSize: 1 }),
    },
  ],
  deleteRoleAssignment: {
    rule: role(need('identity/roleAssignments/delete', on.itsScope, assigning)),
    request: ({ roleAssignment }) => ({ name: roleAssignment, etag: staleEtag }),
  },
  checkPermission: {
    rule: { kind: 'workload', services, orAboutItself: true },
    request: ({ principal }) => ({ principal, action: 'compute/disks/read', scope: '/' }),
  },
});
