import { Service } from '../request/schema.ts';
import { takesPrincipal } from './access-taken.ts';
import { named, nounOf, type Verb } from './verb.ts';

const noun = (name: string) => nounOf('identity', Service.identity, name);
const tenant = noun('tenant');
const subscription = noun('subscription');
const principal = noun('principal');
const platform = noun('platform');
const role = noun('role');
const token = noun('token');
const signingKey = noun('signing-key');

/** The RPCs of identity. */
export const identityVerbs: readonly Verb[] = [
  tenant('create', 'CreateTenant', {
    targets: [{ word: 'id', field: 'tenant_id' }],
  }),
  tenant('show', 'GetTenant', { targets: named('tenant', 'tenant') }),
  tenant('list', 'ListTenants'),

  subscription('create', 'CreateSubscription', {
    targets: [{ word: 'id', field: 'subscription_id' }],
    defaults: { tenant: 'tenant' },
  }),
  subscription('show', 'GetSubscription', { targets: named('subscription', 'subscription') }),
  subscription('list', 'ListSubscriptions'),

  principal('create', 'CreatePrincipal', {
    targets: [{ word: 'display-name', field: 'display_name' }],
    required: ['type'],
    // A managed identity is created with its resource.
    choices: { type: ['user', 'application'] },
    defaults: { principal_id: 'uuid', tenant: 'tenant' },
  }),
  principal('create-managed-identity', 'CreateManagedIdentity', {
    targets: [{ word: 'owner', field: 'owner' }],
    defaults: { principal_id: 'uuid', tenant: 'tenant' },
  }),
  principal('show', 'GetPrincipal', { targets: named('principal', 'principal') }),
  principal('list', 'ListPrincipals'),
  principal('delete', 'DeletePrincipal', {
    targets: named('principal', 'principal'),
    kinds: { confirm_name: 'principal' },
    takesAccess: takesPrincipal,
  }),
  principal('add-secret', 'AddSecret', {
    targets: [...named('principal', 'principal', 'principal'), { word: 'secret-id', field: 'secret_id' }],
    output: 'secretText',
  }),
  principal('remove-secret', 'RemoveSecret', {
    targets: [...named('principal', 'principal', 'principal'), { word: 'secret-id', field: 'secret_id' }],
  }),

  role('list', 'ListRoles'),
  role('assign', 'CreateRoleAssignment', {
    targets: [...named('principal', 'principal', 'principal'), ...named('role', 'role', 'role')],
    required: ['scope'],
    defaults: { role_assignment_id: 'uuid' },
  }),
  role('assignment', 'GetRoleAssignment', { targets: named('assignment', 'roleAssignment') }),
  role('assignments', 'ListRoleAssignments'),
  role('unassign', 'DeleteRoleAssignment', {
    targets: named('assignment', 'roleAssignment'),
    isCustom: true,
  }),
  platform('check-permission', 'CheckPermission', {
    targets: [...named('principal', 'principal', 'principal'), { word: 'action', field: 'action' }],
    required: ['scope'],
  }),

  token('issue', 'IssueToken', {
    required: ['client-id', 'client-secret-file', 'audience'],
    output: 'accessToken',
  }),
  token('issue-managed-identity', 'IssueManagedIdentityToken', {
    targets: named('principal', 'principal', 'principal'),
    required: ['audience'],
    output: 'accessToken',
  }),
  token('keys', 'GetJsonWebKeySet'),

  signingKey('list', 'ListSigningKeys'),
  signingKey('rotate', 'RotateSigningKey', { defaults: { request_id: 'uuid' } }),
];
