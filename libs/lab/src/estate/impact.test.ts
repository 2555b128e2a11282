import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EstateDisk, EstateFile, EstateMachine } from './estate-file.ts';
import { impactOnEstate } from './impact.ts';

const disk = (name: string, diskClass: EstateDisk['class'], set?: string): EstateDisk => ({
  name,
  class: diskClass,
  gib: 1,
  ...(set === undefined ? {} : { set }),
});
const machine = (name: string, osDisk: string, data: readonly string[] = [], running = true): EstateMachine => ({
  name,
  osDisk,
  dataDisks: data.map((one, lun) => ({ lun, disk: one })),
  running,
});
const estate: EstateFile = {
  location: 'westeurope',
  vaults: [{ name: 'kv1', keys: [{ name: 'k1' }, { name: 'k2' }] }],
  sets: [
    { name: 'des1', key: 'kv1/k1', autoRestart: true },
    { name: 'des2', key: 'kv1/k2', keyExpiry: 'next-start' },
  ],
  disks: [
    disk('web-os', 'premium-ssd', 'des1'),
    disk('db-os', 'standard-ssd'),
    disk('db-data', 'ultra', 'des1'),
    disk('both-os', 'standard-hdd', 'des2'),
    disk('both-data', 'ultra', 'des1'),
    disk('off-os', 'premium-ssd', 'des1'),
    disk('plain-os', 'premium-ssd'),
    disk('spare', 'premium-ssd-v2', 'des1'),
  ],
  machines: [
    machine('web', 'web-os'),
    machine('db', 'db-os', ['db-data']),
    machine('both', 'both-os', ['both-data']),
    machine('off', 'off-os', [], false),
    machine('plain', 'plain-os'),
  ],
};
const of = (key: string, loss: 'disable' | 'expire' | 'purge' = 'disable') => {
  const { impacts, runOn } = impactOnEstate(estate, new Set([key]), loss);
  const kinds = impacts.map(({ kind, resource }) => `${resource} ${kind.replace('VIRTUAL_MACHINE_', '')}`);
  return { kinds, runOn, impacts };
};

test('CMK-100, CMK-102, CMK-111: machines stop, fail at their next start, or keep running', () => {
  const { kinds, runOn, impacts } = of('kv1/k1');
  assert.deepEqual(kinds, [
    'des1 SET_LOSES_KEY',
    'web STOPS',
    'db FAILS_AT_NEXT_START',
    'both FAILS_AT_NEXT_START',
    'off FAILS_AT_NEXT_START',
    'web-os DISK_UNAVAILABLE',
    'db-data DISK_UNAVAILABLE_ONCE_STOPPED',
    'both-data DISK_UNAVAILABLE_ONCE_STOPPED',
    'off-os DISK_UNAVAILABLE',
    'spare DISK_UNAVAILABLE',
  ]);
  assert.deepEqual(runOn, ['plain']);
  assert.equal(impacts[1]?.startsAgain, true);
  assert.deepEqual(of('kv1/k2').kinds, ['des2 SET_LOSES_KEY', 'both STOPS', 'both-os DISK_UNAVAILABLE']);
});

test('an expiry under next-start stops no running machine; a purge makes disks unreadable', () => {
  assert.deepEqual(of('kv1/k2', 'expire').kinds, [
    'des2 SET_LOSES_KEY',
    'both FAILS_AT_NEXT_START',
    'both-os DISK_UNAVAILABLE_ONCE_STOPPED',
  ]);
  assert.ok(of('kv1/k1', 'purge').kinds.includes('spare DISK_UNREADABLE'));
  assert.equal(of('kv1/k1', 'purge').impacts[1]?.startsAgain, false);
  assert.deepEqual(of('kv1/k9').impacts, []);
});
