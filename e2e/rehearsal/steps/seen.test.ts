import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditEntry } from '@interlock/contracts/interlock/key_vault/v1/audit.ts';
import type { IoSummary } from '@interlock/lab/judge/journal/journal';
import type { Volume } from '../files/volume.ts';
import type { Seeing } from '../world.ts';
import { type Compared, type FileSeen, seeContent, seeFiles } from './inspection.ts';
import { keptRunning, keptWorking, type WatchedMachine } from './machines.ts';
import { seeRows, seeUses } from './record.ts';
import { type Before, seeRewraps } from './rotation.ts';

/** The rules of which a finding does not hold. */
const brokenBy = (report: (world: Seeing) => unknown): readonly string[] => {
  const broken = new Set<string>();
  report({ see: (rule, _part, ...seen) => void (seen.every(({ holds }) => holds) || broken.add(rule)) });
  return [...broken];
};

const [old, brought] = ['vaults/v/keys/house/versions/1', 'vaults/v/keys/brought/versions/2'] as const;
const headerOf = (keyVersion: string, wrap = 1): Volume['header'] => ({
  ...{ diskId: 'd', cipher: 'AES-256-XTS-4096', generation: 1, keyVersion, algorithm: 'RSA-OAEP-256' },
  wrapped: Buffer.alloc(384, wrap),
});
const file: FileSeen = {
  ...{ disk: 'hdd-os', header: headerOf(brought), allocatedBytes: 4_096, isSameDek: true },
  ...{ isReadableByOwner: true, isReadableByOther: false, plaintextPlaces: 0, searchedPlaces: 2 },
};

test('what is wrong with the file of a disk breaks its rule', () => {
  const nowhere = { places: 9, bytes: 9, leaks: [] };
  const imported = { name: brought, keySizeBits: 3072 };
  const broken = (changed: Partial<FileSeen>, deks: Partial<Parameters<typeof seeFiles>[3]> = {}) =>
    brokenBy((world) =>
      seeFiles(world, { imported }, [file, { ...file, ...changed }], { distinctDeks: 2, search: nowhere, ...deks }),
    );
  assert.deepEqual(broken({}), []);
  assert.deepEqual(broken({ plaintextPlaces: 1 }), ['CMK-12']);
  assert.deepEqual(broken({ searchedPlaces: 0 }), ['CMK-12']);
  assert.deepEqual(broken({ isReadableByOwner: false }), ['CMK-08', 'CMK-12', 'CMK-13']);
  assert.deepEqual(broken({ isReadableByOther: true }), ['CMK-13']);
  assert.deepEqual(broken({ header: headerOf(old) }), ['CMK-13']);
  assert.deepEqual(broken({ header: { ...file.header, wrapped: Buffer.alloc(32) } }), ['CMK-13']);
  assert.deepEqual(broken({ header: { ...file.header, cipher: 'none' } }), ['CMK-08', 'CMK-12']);
  assert.deepEqual(broken({ isSameDek: false }), ['CMK-15']);
  assert.deepEqual(broken({}, { distinctDeks: 1 }), ['CMK-12']);
  const leak = { place: 'file logs/disk.log', name: 'disks/hdd-os', form: 'hex' };
  assert.deepEqual(broken({}, { search: { ...nowhere, leaks: [leak] } }), ['CMK-13']);
  assert.deepEqual(broken({}, { search: { ...nowhere, places: 0 } }), ['CMK-13']);
});

test('a wrong byte, another hash or a lost mark breaks the rule, and so does a comparison of nothing', () => {
  const marks = ['disks/a', 'disks/b'].map((disk) => ({ disk, offset: 0, bytes: Buffer.alloc(8) }));
  const good: Compared = {
    proof: { diskHost: 'disk-0', disk: 'disks/a', bytes: 16, acknowledged: 'x', found: 'x' },
    ...{ records: 2, recordBytes: 8, wrong: 0, isReadable: true },
  };
  const broken = (changed: Partial<Compared>, marksRead = 2) =>
    brokenBy((world) => seeContent(world, { marks, marksRead }, [{ ...good, ...changed }]));
  assert.deepEqual(broken({}), []);
  assert.deepEqual(broken({ wrong: 1 }), ['CMK-127']);
  assert.deepEqual(broken({ proof: { ...good.proof, found: 'y' } }), ['CMK-127']);
  assert.deepEqual(broken({ records: 0 }), ['CMK-127']);
  assert.deepEqual(broken({}, 1), ['CMK-127']);
});

test('a rotation that leaves a wrap, writes data or moves no header breaks its rule', () => {
  const content = (keyVersion: string, wrap: number, byte: number): Before => ({
    volume: { header: headerOf(keyVersion, wrap) } as Volume,
    ciphertext: Buffer.alloc(8, byte),
  });
  const broken = (...after: readonly Before[]) =>
    brokenBy((world) =>
      seeRewraps(
        world,
        { from: old, to: brought },
        new Map([['disks/a', content(old, 1, 7)]]),
        new Map(after.map((one) => ['disks/a', one])),
      ),
    );
  assert.deepEqual(broken(content(brought, 2, 7)), []);
  assert.deepEqual(broken(content(brought, 1, 7)), ['CMK-15']);
  assert.deepEqual(broken(content(brought, 2, 8)), ['CMK-15']);
  assert.deepEqual(broken(content(old, 2, 7)), ['CMK-80']);
  assert.deepEqual(broken(), ['CMK-15', 'CMK-80']);
});

test('a machine that stopped, restarted, failed or did nothing was disturbed', () => {
  const io = { reads: 1, writes: 1, failed: 0, failure: '' } as IoSummary;
  const good: WatchedMachine = { name: 'a', power: 'RUNNING', startTimeBefore: 1, startTimeAfter: 1, io };
  const holds = (changed: Partial<WatchedMachine>): readonly boolean[] => {
    const watched = [good, { ...good, ...changed }];
    return [keptRunning(watched).holds, keptWorking(watched).holds];
  };
  assert.deepEqual(holds({}), [true, true]);
  assert.deepEqual(holds({ power: 'STOPPED' }), [false, true]);
  assert.deepEqual(holds({ startTimeAfter: 2 }), [false, true]);
  assert.deepEqual(holds({ startTimeBefore: Number.NaN, startTimeAfter: Number.NaN }), [false, true]);
  assert.deepEqual(holds({ io: { ...io, failed: 1 } }), [true, false]);
  assert.deepEqual(holds({ io: { ...io, reads: 0, writes: 0 } }), [true, false]);
  assert.deepEqual([keptRunning([]).holds, keptWorking([]).holds], [false, false]);
});

const people = { vaultAdministrator: { principal: 'principals/v' }, vmUser: { principal: 'principals/u' } };
const recorded = {
  sets: [{ name: 'sets/house', principal: 'principals/house' }],
  disks: [{ name: 'disks/a', id: '1', diskHost: 'diskHosts/disk-0', sku: 'ULTRA', set: 'sets/house' }],
  rewrapped: ['disks/a'],
};
const row = (operation: string, caller = 'principals/house', result: AuditEntry['result'] = 'SUCCESS') =>
  ({
    ...{ operation, caller, result, keyVersion: old, resource: 'disks/a', correlationId: 'c', durationUs: 1 },
    ...{ requestUri: `https://v/keys/house/${'1'.repeat(32)}`, callerAddress: '127.0.0.1:1' },
    httpStatusCode: result === 'SUCCESS' ? 200 : 403,
  }) as AuditEntry;
const goodRows = [
  row('VaultPut', 'principals/v'),
  row('KeyUnwrap', 'principals/u', 'REFUSED'),
  row('KeyCheckAccess', 'principals/house', 'REFUSED'),
  ...['KeyWrap', 'KeyUnwrap', 'KeyRewrap'].map((operation) => row(operation)),
];

test('what the record lacks, or has too much, breaks its rule', () => {
  const broken = (rows: readonly AuditEntry[]) =>
    brokenBy((world) => {
      seeUses(world, people, rows, recorded);
      seeRows(world, rows, recorded);
    });
  const changed = (operation: string, fields: Partial<AuditEntry>) =>
    broken(
      goodRows.map((one) => (one.operation === operation && one.result === 'SUCCESS' ? { ...one, ...fields } : one)),
    );
  const without = (operation: string) => broken(goodRows.filter((one) => one.operation !== operation));
  assert.deepEqual(broken(goodRows), []);
  assert.deepEqual(without('VaultPut'), ['CMK-01']);
  assert.deepEqual(changed('VaultPut', { caller: 'principals/u' }), ['CMK-01']);
  assert.deepEqual(without('KeyWrap'), ['CMK-08', 'CMK-144']);
  assert.deepEqual(without('KeyRewrap'), ['CMK-83']);
  assert.deepEqual(without('KeyUnwrap'), ['CMK-07', 'CMK-144']);
  assert.deepEqual(without('KeyCheckAccess'), ['CMK-144']);
  assert.deepEqual(broken([...goodRows, row('KeyUnwrap', 'principals/x')]), ['CMK-07']);
  assert.deepEqual(changed('KeyWrap', { keyVersion: '' }), ['CMK-11']);
  assert.deepEqual(changed('KeyUnwrap', { correlationId: '' }), ['CMK-144']);
  assert.deepEqual(changed('KeyWrap', { requestUri: 'https://v/keys/house' }), ['CMK-144']);
  assert.deepEqual(changed('KeyWrap', { callerAddress: '' }), ['CMK-144']);
});
