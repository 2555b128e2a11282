import type { Role, RoleAssignment } from '@interlock/contracts/interlock/identity/v1/role.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';

const provider = 'providers/Microsoft.Authorization';

/** The parts of a scope in a path, as the client wrote them. */
export interface ScopePath {
  readonly subscription: string;
  readonly group?: string;
  readonly namespace?: string;
  readonly type?: string;
  readonly name?: string;
  /** A key of a vault. */
  readonly key?: string;
}

/** Types of resources that a role can be given on, by their lower case. */
const types: Readonly<Record<string, string>> = {
  'microsoft.keyvault/vaults': 'vaults',
  'microsoft.compute/diskencryptionsets': 'diskEncryptionSets',
  'microsoft.compute/disks': 'disks',
  'microsoft.compute/snapshots': 'snapshots',
  'microsoft.compute/virtualmachines': 'virtualMachines',
};

const namespaceOf: Readonly<Record<string, string>> = {
  vaults: 'Microsoft.KeyVault',
  diskEncryptionSets: 'Microsoft.Compute',
  disks: 'Microsoft.Compute',
  snapshots: 'Microsoft.Compute',
  virtualMachines: 'Microsoft.Compute',
};

/** The scope as identity has it. @throws RestError 400 for a type that has no scope here */
export const innerScope = (names: CloudNames, path: ScopePath): string => {
  const { subscription, group, namespace, type, name, key } = path;
  if (group === undefined) return `subscriptions/${names.subscriptions.inner(subscription)}`;
  const parent = groupName(names, subscription, group);
  if (namespace === undefined || type === undefined || name === undefined) return parent;
  const kind = types[`${namespace}/${type}`.toLowerCase()];
  if (kind === undefined) {
    throw new RestError(
      400,
      'InvalidResourceType',
      `a role cannot be given on ${namespace.slice(0, 100)}/${type.slice(0, 100)}`,
    );
  }
  return `${parent}/${kind}/${name.toLowerCase()}${key === undefined ? '' : `/keys/${key.toLowerCase()}`}`;
};

/** The scope as clients read it. @param scope of identity; `/` is the platform */
export const shownScope = (names: CloudNames, scope: string): string => {
  if (scope === '/') return '/';
  const [collection, id = '', groups, group, kind, ...rest] = scope.split('/');
  const subscription = collection === 'subscriptions' ? names.subscriptions.shown(id) : names.tenants.shown(id);
  const base = `/${collection}/${subscription}`;
  if (group === undefined) return base;
  const inGroup = `${base}/${groups}/${group}`;
  return kind === undefined
    ? inGroup
    : `${inGroup}/providers/${namespaceOf[kind] ?? 'Interlock'}/${kind}/${rest.join('/')}`;
};

/** Segments that a scope adds to a path: nothing for the platform. */
const before = (scope: string): string => (scope === '/' ? '' : scope);

/** A role assignment as clients read it. */
export const assignmentBody = (names: CloudNames, assignment: RoleAssignment, roles: readonly Role[]): unknown => {
  const id = assignment.name.replace('roleAssignments/', '');
  const scope = shownScope(names, assignment.scope);
  const definition = roles.find(({ name }) => name === assignment.role)?.definitionId ?? '';
  const [, subscription] = scope.split('/subscriptions/');
  const owner = subscription === undefined ? '' : `/subscriptions/${subscription.split('/')[0]}`;
  return {
    id: `${before(scope)}/${provider}/roleAssignments/${id}`,
    name: id,
    type: 'Microsoft.Authorization/roleAssignments',
    properties: {
      scope,
      roleDefinitionId: `${owner}/${provider}/roleDefinitions/${definition}`,
      principalId: assignment.principal.replace('principals/', ''),
      principalType: 'ServicePrincipal',
      createdOn: assignment.createTime?.toISOString(),
      updatedOn: assignment.createTime?.toISOString(),
    },
  };
};

/** Actions as clients know them: `keyVault/keys/wrapKey` is a data action on keys. Patterns keep their `*`. */
const actionsShown = (actions: readonly string[]): readonly string[] =>
  actions.map((action) => (action === '*' || action.startsWith('*/') ? action : `Interlock.${action}`));

/** A built-in role as clients read it. @param scope as clients write it */
export const definitionBody = (scope: string, role: Role): unknown => ({
  id: `${before(scope)}/${provider}/roleDefinitions/${role.definitionId}`,
  name: role.definitionId,
  type: 'Microsoft.Authorization/roleDefinitions',
  properties: {
    roleName: role.title,
    type: 'BuiltInRole',
    description: role.title,
    assignableScopes: ['/'],
    permissions: [
      {
        actions: actionsShown(role.actions),
        notActions: actionsShown(role.notActions),
        dataActions: actionsShown(role.dataActions),
        notDataActions: [],
      },
    ],
  },
});
