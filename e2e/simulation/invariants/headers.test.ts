import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHeaders } from './headers.ts';

const line = (volumeId: string) => JSON.stringify({ message: 'storage returned', volumeId, reason: 'HEADER_BEHIND' });

test('G6: a header that the service had to repair is a violation, unless a fault had replaced it', () => {
  const violationsOf = (serviceLog: readonly string[]): readonly string[] => {
    const violations: string[] = [];
    const log = { violate: (guarantee: string) => void violations.push(guarantee) };
    const truth = { disks: { wasReplaced: (volumeId: string) => volumeId === 'replaced' } };
    checkHeaders({ world: { serviceLog }, log, truth });
    return violations;
  };
  assert.deepEqual(violationsOf(['{"message":"another"}', line('replaced')]), []);
  assert.deepEqual(violationsOf([line('replaced'), line('own')]), ['G6']);
});
