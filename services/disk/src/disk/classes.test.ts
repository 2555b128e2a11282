import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLeaseHost } from '../host/keys/test-lease-host.ts';
import { refusal } from '../host/keys/test-vault.ts';
import { attach } from './attachment-decider.ts';
import { checkLayers, checkSize, diskClasses } from './classes.ts';
import { begin, finish } from './decider.ts';
import { type Sku, skuOnWire } from './encryption.ts';
import { evolve, initial } from './state.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d';
const ordinary = { isDirect: false, outlivesKeyLoss: false, sizeGibMax: 32_767 };
/** The rules for each class. */
const rules: Readonly<Record<Sku, { isDirect: boolean; outlivesKeyLoss: boolean; sizeGibMax: number }>> = {
  standard_hdd: ordinary,
  standard_ssd: ordinary,
  premium_ssd: ordinary,
  premium_ssd_v2: { isDirect: true, outlivesKeyLoss: false, sizeGibMax: 65_536 },
  ultra: { isDirect: true, outlivesKeyLoss: true, sizeGibMax: 65_536 },
};

/** A disk of that class. */
const diskOf = (sku: Sku) => {
  const spec = {
    uniqueId: 'u',
    location: 'l',
    sku,
    sizeGib: 4,
    source: '',
    encryption: { type: 'customer', set },
  } as const;
  const volume = {
    volumeId: 'v',
    dekId: 'k',
    dekDiskId: 'u',
    dekAuthenticator: 'a',
    headerSequence: 1,
    headerDigest: 'one',
  };
  const wrap = { keyVersion: 'vaults/v/keys/k/versions/1', generation: 1 };
  const making = begin(1, 'wish', { host: 'disk-0', volumeId: 'v' }, spec)(initial).reduce(evolve, initial);
  return finish(1, { uniqueId: 'u', volume, wrap, accessEpoch: 7 })(making).reduce(evolve, making);
};
const isRefused = (reason: string, attempt: () => unknown): boolean => {
  try {
    attempt();
    return false;
  } catch (error) {
    assert.equal((error as { reason?: string }).reason, reason);
    return true;
  }
};

for (const [sku, { isDirect, outlivesKeyLoss, sizeGibMax }] of Object.entries(rules) as [Sku, (typeof rules)[Sku]][]) {
  test(`CMK-61, CMK-71: ${sku} disks ${isDirect ? 'are data disks, have one layer and no full snapshots' : 'can be OS disks, can have two layers and full snapshots'}`, () => {
    const boot = attach(1, { virtualMachine: 'vm', isOsDisk: true, requestId: 'r' });
    assert.equal(
      isRefused('OS_DISK_NOT_SUPPORTED', () => boot(diskOf(sku))),
      isDirect,
    );
    assert.equal(
      isRefused('DOUBLE_ENCRYPTION_NOT_SUPPORTED', () => checkLayers(sku, { type: 'double', set })),
      isDirect,
    );
    checkLayers(sku, { type: 'customer', set });
    assert.equal(diskClasses[sku].canSnapshotFully, !isDirect);
  });

  test(`CMK-101, CMK-102: a running machine ${outlivesKeyLoss ? 'keeps' : 'loses'} the data of its ${sku} disks when their key is lost`, async () => {
    const { host, terms, open, pass, stop } = await startLeaseHost();
    const disk = await open('d', skuOnWire[sku]);
    assert.deepEqual([await disk.write(), await disk.read()], ['ok', 'ok']);
    host.setVault(refusal('KEY_DISABLED', 5));
    await pass(terms.ttlMs);
    const outcome = outlivesKeyLoss ? 'ok' : 'KEY_DISABLED';
    assert.deepEqual([await disk.read(), await disk.write()], [outcome, outcome]);
    await stop();
  });

  test(`${sku} disks have a whole number of GiB from 1 to ${sizeGibMax}`, () => {
    for (const fine of [1, sizeGibMax]) checkSize(sku, fine);
    for (const wrong of [0, -1, 1.5, sizeGibMax + 1, Number.NaN]) {
      assert.ok(
        isRefused('DISK_SIZE_INVALID', () => checkSize(sku, wrong)),
        String(wrong),
      );
    }
  });
}
