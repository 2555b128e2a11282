import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { type FleetSet, planFleet } from './plan.ts';

const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const set = (name: string): FleetSet => ({
  name,
  keyVersion: 'v',
  generation: 1,
  publicKey,
});
const place = {
  group: 'subscriptions/s/resourceGroups/g',
  lost: [set('a'), set('b'), set('c')],
  kept: set('kept'),
} as const;

test('plans the requested number of machines that stop, half as many that do not, and unique names', () => {
  for (const stopping of [1, 2, 3, 10, 999]) {
    const fleet = [...planFleet(stopping, place)];
    assert.equal(fleet.filter(({ stops }) => stops).length, stopping);
    assert.equal(fleet.length - stopping, Math.ceil(stopping / 2));
    assert.equal(new Set(fleet.map(({ name }) => name)).size, fleet.length);
  }
});

test('spreads stopping machines over the lost sets, and gives every twentieth machine an ultra disk under one of them', () => {
  const fleet = [...planFleet(600, place)];
  for (const { name } of place.lost) {
    assert.equal(fleet.filter(({ stops, disks }) => stops && disks[0]?.set.name === name).length, 200);
  }
  const withUltra = fleet.filter(({ disks }) => disks.some(({ sku }) => sku === 'ULTRA'));
  assert.equal(withUltra.length, 45);
  assert.ok(withUltra.some(({ stops }) => stops) && withUltra.some(({ stops }) => !stops));
  for (const { stops, disks } of fleet) {
    assert.equal(disks[0]?.set === place.kept, !stops);
    assert.ok(disks.slice(1).every((disk) => disk.set !== place.kept));
  }
});
