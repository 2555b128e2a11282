import { setPermissionsOnWire } from '@interlock/access/permissions';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { SimulatedCloud } from './cloud/simulated-cloud.ts';

export const parent = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';

/** Creates a running machine with one disk under its own key. */
export const makeMachine = async (world: SimulatedCloud) => {
  const admin = world.as(world.people.administrator);
  const vault = admin.client('key-vault', KeyVaultServiceDefinition);
  const sets = admin.client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const disks = admin.client('disk', DiskServiceDefinition);
  const compute = admin.client('compute', ComputeServiceDefinition);
  const { random, clock } = world;
  const made = await vault.createVault({
    vaultId: 'kv1',
    resourceGroup: parent,
    location,
    permissionModel: 'ACCESS_POLICY',
    accessPolicies: [{ principal: world.people.administrator.name, keyPermissions: ['ALL'] }],
  });
  const key = await vault.createKey({ parent: made.name, keyId: 'k1', requestId: random.uuid() });
  const set = await sets.createDiskEncryptionSet({ parent, diskEncryptionSetId: 'des1', location, keyUrl: key.keyUrl });
  const principal = set.identity?.principal ?? '';
  await vault.setAccessPolicy({
    name: made.name,
    accessPolicy: { principal, keyPermissions: [...setPermissionsOnWire] },
  });
  const disk = await disks.createDisk({
    parent,
    diskId: 'd1',
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name },
  });
  const machine = await compute.createVirtualMachine({
    parent,
    virtualMachineId: 'vm1',
    location,
    osDisk: { source: { $case: 'disk', value: disk.name } },
  });
  const stateOf = async () => (await compute.getVirtualMachine({ name: machine.name })).powerState;
  const untilState = async (wanted: string): Promise<void> => {
    while ((await stateOf()) !== wanted) await clock.sleep(10);
  };
  await untilState('RUNNING');
  return { vault, compute, keyVersion: key.name, machine: machine.name, untilState };
};
