import type { Az } from './az.ts';
import type { LossClient, LossWorld } from './key-losses.ts';
import { machineViewOf } from './sdk-losses.ts';

/** Azure's command line. */
export const azLossClient = (az: Az, { gateway, world, vault, key }: LossWorld): LossClient => {
  const group = ['-g', world.group];
  const ofVault = ['-n', vault, ...group];
  const ofKey = ['--vault-name', vault, '-n', key.key];
  const ofSet = ['-n', 'des1', ...group];
  const ofMachine = ['-n', 'vm', ...group];
  const version = key.keyUrl.split('/').at(-1) ?? '';
  const principalOfSet = (): Promise<string> =>
    az.run('disk-encryption-set', 'show', ...ofSet, '--query', 'identity.principalId');
  const role = ['--role', 'Key Vault Crypto Service Encryption User', '--scope', key.vaultId];
  const time = (date: Date): string => date.toISOString().replace('.000', '');
  return {
    principal: gateway.clientId,
    changeVersion: ({ enabled, expiresOn, notBefore }) =>
      az.run(
        ...['keyvault', 'key', 'set-attributes', ...ofKey, '--version', version],
        ...(enabled === undefined ? [] : ['--enabled', String(enabled)]),
        ...(expiresOn === undefined ? [] : ['--expires', time(expiresOn)]),
        ...(notBefore === undefined ? [] : ['--not-before', time(notBefore)]),
      ),
    rotateKey: () => az.run('keyvault', 'key', 'rotate', ...ofKey),
    deleteKey: () => az.run('keyvault', 'key', 'delete', ...ofKey),
    recoverKey: () => az.run('keyvault', 'key', 'recover', ...ofKey),
    deleteVault: () => az.run('keyvault', 'delete', ...ofVault),
    recoverVault: () => az.run('keyvault', 'recover', '-n', vault),
    setRoleModel: (hasRoles) =>
      az.run('keyvault', 'update', ...ofVault, '--enable-rbac-authorization', String(hasRoles)),
    async grantRole() {
      const assignee = [
        '--assignee-object-id',
        await principalOfSet(),
        '--assignee-principal-type',
        'ServicePrincipal',
      ];
      await az.run('role', 'assignment', 'create', ...role, ...assignee);
    },
    removeRole: async () => az.run('role', 'assignment', 'delete', ...role, '--assignee', await principalOfSet()),
    async setPolicy(permissions, principal) {
      const of = ['--object-id', principal ?? (await principalOfSet())];
      await az.run('keyvault', 'set-policy', ...ofVault, ...of, '--key-permissions', ...permissions);
    },
    removePolicy: async () => az.run('keyvault', 'delete-policy', ...ofVault, '--object-id', await principalOfSet()),
    async closeNetwork(bypass) {
      const rules = ['--default-action', 'Deny', '--bypass', bypass ? 'AzureServices' : 'None'];
      await az.run('keyvault', 'update', ...ofVault, ...rules);
      if (bypass) await az.run('keyvault', 'network-rule', 'add', ...ofVault, '--ip-address', '127.0.0.1');
    },
    setIdentity: (hasIdentity) =>
      az.run(
        ...['disk-encryption-set', 'identity', hasIdentity ? 'assign' : 'remove', ...ofSet, '--system-assigned'],
        ...(hasIdentity ? [] : ['--yes']),
      ),
    async moveToNewKey(name) {
      const created = ['keyvault', 'key', 'create', '--vault-name', vault, '-n', name, '--kty', 'RSA'];
      const keyUrl = await az.run<string>(...created, '--query', 'key.kid');
      await az.run('disk-encryption-set', 'update', ...ofSet, '--key-url', keyUrl, '--source-vault', key.vaultId);
    },
    view: async () => machineViewOf(await az.run('vm', 'get-instance-view', ...ofMachine, '--query', 'instanceView')),
    async start() {
      const { exitCode, stderr } = await az.attempt('vm', 'start', ...ofMachine);
      if (exitCode === 0) return undefined;
      return /\((\w+)\)/.exec(stderr)?.[1] ?? stderr;
    },
    deallocate: () => az.run('vm', 'deallocate', ...ofMachine),
    beginAccess: () =>
      az.run(
        ...['disk', 'grant-access', '-n', 'data', ...group, '--duration-in-seconds', '60'],
        '--query',
        'accessSAS',
      ),
    endAccess: () => az.run('disk', 'revoke-access', '-n', 'data', ...group),
  };
};
