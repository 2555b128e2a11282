/** Built-in roles by what they allow, the least of them first. */
const rolesByActions: readonly (readonly [role: string, allowed: RegExp])[] = [
  ['keyVaultCryptoUser', /^keyVault\/keys\/(get|list|encrypt|decrypt|wrapKey|unwrapKey|sign|verify)$/],
  ['keyVaultPurgeOperator', /^keyVault\/(keys|vaults)\/purge$/],
  ['keyVaultCryptoOfficer', /^keyVault\/keys\//],
  ['reader', /\/read$/],
  ['operator', /^compute\/virtualMachines\/(start|powerOff|deallocate|restart)$/],
  ['keyVaultDataAccessAdministrator', /^identity\/keyVaultRoleAssignments\//],
  ['keyVaultAdministrator', /^keyVault\//],
  ['contributor', /^(?!identity\/(roleAssignments|principalSecrets)\/|keyVault\/keys\/)/],
];

/** The least of the built-in roles that allows all of these actions. @param actions separated by commas */
export const roleWith = (actions: string): string =>
  rolesByActions.find(([, allowed]) => actions.split(',').every((action) => allowed.test(action)))?.[0] ?? 'owner';
