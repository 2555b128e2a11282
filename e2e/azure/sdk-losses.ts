import type { VirtualMachineInstanceView } from '@azure/arm-compute';
import type { KeyChange, LossClient, LossWorld, MachineView } from './key-losses.ts';
import { codeOf } from './test-compute.ts';

/** The status with this prefix, among the statuses that clients read. */
const statusIn = (
  statuses: readonly { readonly code?: string | undefined }[] | undefined,
  prefix: string,
): string | undefined => statuses?.find(({ code }) => code?.startsWith(prefix))?.code;

/** The state of the machine in its instance view, for both clients. */
export const machineViewOf = ({
  statuses,
  disks,
}: Pick<VirtualMachineInstanceView, 'statuses' | 'disks'>): MachineView => ({
  power: statusIn(statuses, 'PowerState/'),
  provisioning: statusIn(statuses, 'ProvisioningState/'),
  disk: statusIn(disks?.find(({ name }) => name === 'data')?.statuses, 'ProvisioningState/'),
});

/** The SDKs for JavaScript. */
export const sdkLossClient = ({ gateway, world, vault, key }: LossWorld): LossClient => {
  const { compute, vaults, authorization, group, location } = world;
  const { tenant, clientId } = gateway;
  const { keys } = key;
  let version = key.keyUrl.split('/').at(-1) ?? '';
  const principalOfSet = async (): Promise<string> =>
    (await compute.diskEncryptionSets.get(group, 'des1')).identity?.principalId ?? '';
  const changePolicy = async (
    kind: 'add' | 'remove' | 'replace',
    permissions: readonly string[],
    principal?: string,
  ) => {
    const objectId = principal ?? (await principalOfSet());
    const one = { tenantId: tenant, objectId, permissions: { keys: [...permissions] } };
    await vaults.vaults.updateAccessPolicy(group, vault, kind, { properties: { accessPolicies: [one] } });
  };
  return {
    principal: clientId,
    changeVersion: (change: KeyChange) => keys.updateKeyProperties(key.key, version, change),
    rotateKey: () => keys.rotateKey(key.key),
    deleteKey: async () => (await keys.beginDeleteKey(key.key, { intervalInMs: 50 })).pollUntilDone(),
    recoverKey: async () => (await keys.beginRecoverDeletedKey(key.key, { intervalInMs: 50 })).pollUntilDone(),
    deleteVault: () => vaults.vaults.delete(group, vault),
    recoverVault() {
      const sku = { family: 'A', name: 'standard' } as const;
      const properties = { createMode: 'recover', tenantId: tenant, sku } as const;
      return vaults.vaults.createOrUpdate(group, vault, { location, properties });
    },
    setRoleModel: (hasRoles) =>
      vaults.vaults.update(group, vault, { properties: { enableRbacAuthorization: hasRoles } }),
    grantRole: async () => world.grant(key.vaultId, await principalOfSet()),
    async removeRole() {
      const filter = `principalId eq '${await principalOfSet()}'`;
      for await (const { id = '' } of authorization.roleAssignments.listForScope(key.vaultId, { filter }))
        await authorization.roleAssignments.deleteById(id);
    },
    async setPolicy(permissions, principal) {
      await changePolicy('remove', ['get', 'wrapKey', 'unwrapKey'], principal);
      await changePolicy('add', permissions, principal);
    },
    removePolicy: () => changePolicy('remove', ['get', 'wrapKey', 'unwrapKey']),
    closeNetwork(bypass) {
      const rules = {
        defaultAction: 'Deny',
        bypass: bypass ? 'AzureServices' : 'None',
        ipRules: [{ value: '127.0.0.1' }],
      };
      return vaults.vaults.update(group, vault, { properties: { networkAcls: rules } });
    },
    setIdentity: (hasIdentity) =>
      compute.diskEncryptionSets.update(group, 'des1', { identity: { type: hasIdentity ? 'SystemAssigned' : 'None' } }),
    async moveToNewKey(name) {
      const { id: keyUrl = '' } = await keys.createRsaKey(name, { keySize: 2048 });
      await compute.diskEncryptionSets.update(group, 'des1', {
        activeKey: { keyUrl, sourceVault: { id: key.vaultId } },
      });
      version = keyUrl.split('/').at(-1) ?? '';
    },
    view: async () => machineViewOf(await compute.virtualMachines.instanceView(group, 'vm')),
    start: () =>
      compute.virtualMachines.start(group, 'vm').then(
        () => undefined,
        (error: Error) => codeOf(error) ?? String(error),
      ),
    deallocate: () => compute.virtualMachines.deallocate(group, 'vm'),
    async beginAccess() {
      const request = { access: 'Read', durationInSeconds: 60 } as const;
      return (await compute.disks.grantAccess(group, 'data', request)).accessSAS ?? '';
    },
    endAccess: () => compute.disks.revokeAccess(group, 'data'),
  };
};
