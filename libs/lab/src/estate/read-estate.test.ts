import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EstateFile } from './estate-file.ts';
import { printEstate } from './print-estate.ts';
import { readEstate } from './read-estate.ts';

const estate: EstateFile = {
  location: 'westeurope',
  vaults: [
    { name: 'kv1', permissions: 'roles', keys: [{ name: 'k1', bits: 3072, versions: ['disabled', 'enabled'] }] },
  ],
  sets: [{ name: 'des1', key: 'kv1/k1', version: 1, autoRestart: true, keyExpiry: 'next-start' }],
  disks: [
    { name: 'os', class: 'premium-ssd', gib: 1, set: 'des1' },
    { name: 'data', class: 'ultra', gib: 4, set: 'des1' },
    { name: 'spare', class: 'standard-hdd', gib: 2, location: 'northeurope' },
  ],
  machines: [{ name: 'vm1', osDisk: 'os', dataDisks: [{ lun: 7, disk: 'data' }], running: false }],
};

const problems = (text: string): string => {
  const read = readEstate(text);
  assert.ok('problems' in read, text);
  return read.problems.map(({ line, message, cure }) => `${line}: ${message}. ${cure}`).join('\n');
};

test('a printed estate is read back unchanged', () => {
  assert.deepEqual(readEstate(printEstate(estate, ['made for a test'])), { estate });
});

/** The estate above, one section changed. */
const changed = (change: Readonly<Record<string, unknown>>): string =>
  printEstate({ ...estate, ...change } as EstateFile);

describe('an invalid estate is refused with line and cure', () => {
  const disk = (more: object) => [...estate.disks.slice(0, 2), { name: 'more', class: 'premium-ssd', gib: 1, ...more }];
  for (const [title, text, expected] of [
    ['empty', '', /^1: the file is empty\. Start with location/],
    ['syntax', 'location: x\nvaults: [\n', /the YAML is not valid/],
    ['unknown field', changed({ macines: [] }), /unknown field "macines"\. Did you mean machines\?/],
    ['missing section', 'location: x\n', /the file has no vaults/],
    ['unknown class', changed({ disks: disk({ class: 'premium' }) }), /must be a class of disks .*not "premium"/],
    ['no size', changed({ disks: disk({ gib: 0 }) }), /gib must be a whole number from 1 to 65536, not 0/],
    [
      'unknown key',
      changed({ sets: [{ name: 'des1', key: 'kv1/k2' }] }),
      /names the key "kv1\/k2", which is in no vault of the file\. Did you mean kv1\/k1\?/,
    ],
    [
      'unknown version',
      changed({ sets: [{ name: 'des1', key: 'kv1/k1', version: 3 }] }),
      /names version 3 of kv1\/k1, which has 2/,
    ],
    ['unknown set', changed({ disks: disk({ set: 'des2' }) }), /names the set "des2", which is not in the file/],
    [
      'unknown disk',
      changed({ machines: [{ name: 'vm1', osDisk: 'oss' }] }),
      /names the disk "oss", which is not in the file\. Did you mean os\?/,
    ],
    [
      'two machines of a disk',
      changed({ machines: [...estate.machines, { name: 'vm2', osDisk: 'os' }] }),
      /the disk os belongs to vm1 and to vm2/,
    ],
    [
      'equal names',
      changed({
        machines: [
          { name: 'vm1', osDisk: 'os' },
          { name: 'VM1', osDisk: 'data' },
        ],
      }),
      /two machines have the name "VM1"/,
    ],
    [
      'ultra OS disk',
      changed({ machines: [{ name: 'vm1', osDisk: 'data' }] }),
      /machines cannot start from the ultra disk data/,
    ],
    [
      'equal LUNs',
      changed({
        disks: disk({}),
        machines: [
          {
            name: 'vm1',
            osDisk: 'os',
            dataDisks: [
              { lun: 7, disk: 'data' },
              { lun: 7, disk: 'more' },
            ],
          },
        ],
      }),
      /two disks of vm1 have the LUN 7/,
    ],
    [
      'region of a disk',
      changed({ machines: [{ name: 'vm1', osDisk: 'spare' }] }),
      /is in westeurope and its disk spare in northeurope/,
    ],
    [
      'region of a set',
      changed({ sets: [{ name: 'des1', key: 'kv1/k1', location: 'x' }] }),
      /the set des1 is in x and its vault kv1 in westeurope/,
    ],
    [
      'two keys and ultra',
      changed({ sets: [{ name: 'des1', key: 'kv1/k1', encryption: 'platform-and-customer-keys' }] }),
      /a ultra disk cannot be under the two keys|ultra disk cannot/,
    ],
  ] as const)
    test(title, () => assert.match(problems(text), expected));
});
