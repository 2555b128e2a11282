import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { serviceNames } from '@interlock/local/services.ts';
import { seededRandom } from '@interlock/runtime';
import { allMethods } from './calls.ts';
import { aboutNothing, malformed, wellFormed } from './messages.ts';
import { KnownValues } from './names.ts';

const methods = allMethods(serviceNames);
const bytesFor = (seed: number): readonly Buffer[] =>
  methods.map(({ method, path }, n) => {
    const random = seededRandom(seed).fork(`call ${n}`);
    const source = {
      random,
      known: new KnownValues(),
      path,
      aim: 'newer',
      oddness: 0.5,
      about: aboutNothing(method.input),
    } as const;
    return Buffer.from(toBinary(method.input, wellFormed(method.input, source)));
  });

test('generates a well-formed message for every RPC, the same for the same seed', () => {
  assert.ok(methods.length > 100, `${methods.length} methods`);
  const made = bytesFor(7);
  for (const [n, { method }] of methods.entries()) fromBinary(method.input, made[n] ?? Buffer.alloc(0));
  assert.deepEqual(bytesFor(7), made);
  assert.notDeepEqual(bytesFor(8), made);
});

test('a third and more of the malformed messages cannot be decoded', () => {
  const random = seededRandom(1);
  const [{ method } = assert.fail('no methods')] = methods.filter(({ path }) => path.endsWith('/CreateKey'));
  const [bytes] = bytesFor(7);
  let refused = 0;
  for (let n = 0; n < 200; n += 1) {
    try {
      fromBinary(method.input, malformed(bytes ?? Buffer.alloc(0), random));
    } catch {
      refused += 1;
    }
  }
  assert.ok(refused > 60, `${refused} of 200`);
});

/** Context for choosing a text, before other fields are chosen. */
const unrelated = { comment: '', aim: 'newer', chosen: [], record: undefined, fields: new Set<string>() } as const;

test('chooses a name that fits the method, by its path or by the pattern in a refusal', () => {
  const known = new KnownValues();
  const random = seededRandom(1);
  known.addText('name', 'vaults/v/keys/k');
  known.addText('name', 'subscriptions/s/resourceGroups/g/disks/d');
  const often = (field: string, method: string): string | undefined => {
    const wanted = { ...unrelated, field, path: `a.Service/${method}` };
    const found = Array.from({ length: 100 }, () => known.text(wanted, random));
    return found.toSorted((a, b) => found.filter((c) => c === b).length - found.filter((c) => c === a).length)[0];
  };
  assert.equal(often('name', 'GetDisk'), 'subscriptions/s/resourceGroups/g/disks/d');
  known.learnPattern('a.Service/Move', 'parent must look like vaults/{vault}/keys/{key}, not "x"');
  assert.equal(often('parent', 'Move'), 'vaults/v/keys/k');
});
