import { type ActionPatterns, holdsAction } from '@interlock/rpc';

/** A built-in role, as patterns of actions (`*`: any characters). */
export interface Role {
  /** `roles/<name>` */
  readonly name: string;
  readonly title: string;
  /** Public definition id of the role this one is modelled on; empty for roles of our own. */
  readonly definitionId: string;
  /** Management of resources. */
  readonly actions: readonly string[];
  /** Use of keys: what reaches key material. Owners and contributors have none of it (KV-73, KV-74). */
  readonly dataActions: readonly string[];
  /** Exceptions from `actions`. */
  readonly notActions?: readonly string[];
}

/** Roles of key-vault-keys.md §6 and the general ones (KV-70…74, CMK-26); operators run machines and nothing else. */
export const roles: readonly Role[] = [
  {
    name: 'roles/owner',
    title: 'Owner',
    definitionId: '8e3af657-a8ff-443c-a75c-2fe8c4bcb635',
    actions: ['*'],
    dataActions: [],
  },
  {
    name: 'roles/contributor',
    title: 'Contributor',
    definitionId: 'b24988ac-6180-42a0-ab88-20f7382dd24c',
    actions: ['*'],
    notActions: [
      'identity/roleAssignments/write',
      'identity/roleAssignments/delete',
      'identity/keyVaultRoleAssignments/*',
      // A secret of another principal would give the contributor that principal's roles.
      'identity/principalSecrets/*',
    ],
    dataActions: [],
  },
  {
    name: 'roles/reader',
    title: 'Reader',
    definitionId: 'acdd72a7-3385-48ef-bd42-f606fba81ae7',
    actions: ['*/read'],
    dataActions: [],
  },
  {
    name: 'roles/operator',
    title: 'Virtual Machine Operator',
    definitionId: '',
    actions: [
      '*/read',
      'compute/virtualMachines/start',
      'compute/virtualMachines/powerOff',
      'compute/virtualMachines/deallocate',
      'compute/virtualMachines/restart',
    ],
    dataActions: [],
  },
  {
    name: 'roles/keyVaultAdministrator',
    title: 'Key Vault Administrator',
    definitionId: '00482a5a-887f-4fb3-b363-3b7fe8e74483',
    // The administrator of the rules makes the vault as well as its keys (CMK-01, CMK-02).
    actions: ['keyVault/*'],
    dataActions: ['keyVault/keys/*'],
  },
  {
    name: 'roles/keyVaultCryptoOfficer',
    title: 'Key Vault Crypto Officer',
    definitionId: '14b46e9e-c2b7-41b4-b07b-48a6ebf60603',
    actions: ['keyVault/vaults/read'],
    dataActions: ['keyVault/keys/*'],
  },
  {
    name: 'roles/keyVaultCryptoUser',
    title: 'Key Vault Crypto User',
    definitionId: '12338af0-0e69-4776-bea7-57ae8d297424',
    actions: ['keyVault/vaults/read'],
    dataActions: ['get', 'list', 'encrypt', 'decrypt', 'wrapKey', 'unwrapKey', 'sign', 'verify'].map(
      (op) => `keyVault/keys/${op}`,
    ),
  },
  {
    name: 'roles/keyVaultCryptoServiceEncryptionUser',
    title: 'Key Vault Crypto Service Encryption User',
    definitionId: 'e147488a-f6f5-4113-8e2d-b22465e65bf6',
    actions: [],
    dataActions: ['keyVault/keys/get', 'keyVault/keys/wrapKey', 'keyVault/keys/unwrapKey'],
  },
  {
    name: 'roles/keyVaultReader',
    title: 'Key Vault Reader',
    definitionId: '21090545-7ca7-4776-b22c-e363652d74d2',
    actions: ['keyVault/vaults/read'],
    dataActions: ['keyVault/keys/get', 'keyVault/keys/list'],
  },
  {
    name: 'roles/keyVaultPurgeOperator',
    title: 'Key Vault Purge Operator',
    definitionId: 'a68e7c17-0ab2-4c09-9a58-125dae29748c',
    actions: ['keyVault/vaults/read', 'keyVault/vaults/purge'],
    dataActions: ['keyVault/keys/purge'],
  },
  {
    name: 'roles/keyVaultDataAccessAdministrator',
    title: 'Key Vault Data Access Administrator',
    definitionId: '8b54135c-b56d-4d72-a534-26097cfdc8d8',
    actions: ['keyVault/vaults/read', 'identity/roleAssignments/read', 'identity/keyVaultRoleAssignments/*'],
    dataActions: [],
  },
];

/** The action that a caller needs to assign a role. A Key Vault Data Access Administrator may assign roles about keys only. */
export const assignmentAction = (role: Role, verb: 'write' | 'delete'): string => {
  const isAboutKeys = role.dataActions.length > 0 && role.actions.every((action) => action === 'keyVault/vaults/read');
  return `identity/${isAboutKeys ? 'keyVaultRoleAssignments' : 'roleAssignments'}/${verb}`;
};

/** The role of that name; `undefined` for an unknown one. */
export const roleNamed = (name: string): Role | undefined => roles.find((role) => role.name === name);

/** Actions under this prefix reach key material: only `dataActions` grant them. */
const dataActionPrefix = 'keyVault/keys/';
const isDataAction = (action: string): boolean => action.startsWith(dataActionPrefix);

/** What a role allows of the action's kind: management, or use of keys. Patterns of management never include a use of keys. */
export const allowedWith = (role: Role, action: string): ActionPatterns =>
  isDataAction(action)
    ? { actions: role.dataActions, notActions: [] }
    : { actions: role.actions, notActions: [...(role.notActions ?? []), `${dataActionPrefix}*`] };

/** Whether the role allows the action. */
export const allows = (role: Role, action: string): boolean => holdsAction(allowedWith(role, action), action);
