import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { testNames as names, testSubscription as subscription } from '../cloud/test-names.ts';
import { type MachineParts, Machines } from './machines.ts';

test('creating a machine with an invalid disk is refused while another disk is still looked up', async () => {
  const getDiskEncryptionSet = async () => {
    await setImmediate();
    return { encryptionType: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY' };
  };
  const parts = { names, backends: { sets: { getDiskEncryptionSet } } } as unknown as MachineParts;
  const caller = { as: () => ({}) } as unknown as Parameters<Machines['create']>[2];
  const id = `/subscriptions/${subscription}/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets/d`;
  const osDisk = { createOption: 'Empty', managedDisk: { diskEncryptionSet: { id } } };
  const dataDisks = [{ lun: 0, createOption: '' }];
  const body = { location: 'westeurope', properties: { storageProfile: { osDisk, dataDisks } } };
  // A rejection that no code awaits would end the process, and fails this test.
  await assert.rejects(new Machines(parts).create({ subscription, group: 'g', name: 'vm' }, body, caller), {
    code: 'NotSupported',
  });
});
