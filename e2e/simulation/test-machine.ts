import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { makeKeys, newDisksOfMachine } from '../cloud/make-estate.ts';
import type { SimulatedCloud } from './cloud/simulated-cloud.ts';

export const parent = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';

/** Creates a running machine with one disk under its own key. */
export const makeMachine = async (world: SimulatedCloud) => {
  const admin = world.as(world.people.administrator);
  const vault = admin.client('key-vault', KeyVaultServiceDefinition);
  const sets = admin.client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const compute = admin.client('compute', ComputeServiceDefinition);
  const { random, clock } = world;
  const made = await makeKeys(
    {
      clients: { identity: admin.client('identity', IdentityServiceDefinition), keyVault: vault, sets },
      clock,
      uuid: () => random.uuid(),
      resourceGroup: parent,
      owner: world.people.administrator.name,
    },
    {
      location,
      vaults: [{ name: 'kv1', keys: [{ name: 'k1' }] }],
      sets: [{ name: 'des1', key: 'kv1/k1' }],
    },
  );
  const { set = '', keyVersion = '' } = made.get('des1') ?? {};
  const machine = await compute.createVirtualMachine({
    parent,
    virtualMachineId: 'vm1',
    location,
    ...newDisksOfMachine([{ id: 'd1', sku: 'PREMIUM_SSD', set }]),
  });
  const stateOf = async () => (await compute.getVirtualMachine({ name: machine.name })).powerState;
  const untilState = async (wanted: string): Promise<void> => {
    while ((await stateOf()) !== wanted) await clock.sleep(10);
  };
  await untilState('RUNNING');
  return { vault, compute, keyVersion, machine: machine.name, untilState };
};
