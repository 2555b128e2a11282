import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { serviceNames } from '@interlock/local/services.ts';
import { seededRandom } from '@interlock/runtime';
import { allMethods } from './calls.ts';
import { aboutNothing, type Source, wellFormed } from './messages.ts';
import { type Aim, KnownValues } from './names.ts';
import { recordsOf, type ValueRecord, valuesOf } from './records.ts';
import { encoded, messagesOf } from './templates.ts';

const methods = allMethods(serviceNames);
const methodOf = (name: string) => methods.find(({ path }) => path.endsWith(`/${name}`)) ?? assert.fail(`no ${name}`);

const sourceFor = (name: string, known: KnownValues, seed: number, aim: Aim = 'newer'): Source => {
  const { path, method } = methodOf(name);
  return { random: seededRandom(seed), known, path, aim, oddness: 0, about: aboutNothing(method.input) };
};

/** The values of a hundred generated requests. */
const requests = (name: string, known: KnownValues, aim?: Aim): readonly ValueRecord[] =>
  Array.from({ length: 100 }, (_, seed) => {
    const { input } = methodOf(name).method;
    return valuesOf(reflect(input, wellFormed(input, sourceFor(name, known, seed, aim))));
  });

const held = (record: ValueRecord, field: string) => record.find((one) => one.field === field)?.value;

test('a request combines values that belong together: a wrapped key, its key version and its algorithm', () => {
  const known = new KnownValues();
  const wrap = (version: string, algorithm: number): Buffer => {
    const wrapped = Buffer.from(version);
    known.addRecord([
      { field: 'name', value: version },
      { field: 'algorithm', value: algorithm },
      { field: 'wrapped_key', value: wrapped },
    ]);
    return wrapped;
  };
  const [one, other] = ['1', '2'].map((digit) => `vaults/v${digit}/keys/k/versions/${digit.repeat(32)}`);
  const wrapped = new Map([
    [one, [wrap(one ?? '', 1), 1]],
    [other, [wrap(other ?? '', 2), 2]],
  ]);
  for (const name of wrapped.keys())
    known.addRecord([
      { field: 'name', value: name ?? '' },
      { field: 'etag', value: '1' },
    ]);
  const made = requests('UnwrapKey', known);
  const fitting = made.filter((request) => {
    const [bytes, algorithm] = wrapped.get(String(held(request, 'name'))) ?? [];
    return bytes !== undefined && bytes === held(request, 'wrapped_key') && algorithm === held(request, 'algorithm');
  });
  assert.ok(fitting.length > 40, `${fitting.length} of 100`);
});

test('requests that concern deleted resources name deleted ones; other requests do not', () => {
  const known = new KnownValues();
  for (const name of ['vaults/v1/keys/living', 'vaults/v1/keys/gone']) known.addText('name', name);
  known.deleted('vaults/v1/keys/gone');
  const naming = (method: string, name: string, aim: Aim): number =>
    requests(method, known, aim).filter((request) => held(request, 'name') === name).length;
  assert.ok(naming('PurgeKey', 'vaults/v1/keys/gone', 'deleted') > 60);
  assert.equal(naming('GetKey', 'vaults/v1/keys/gone', 'newer'), 0);
  known.notDeleted('vaults/v1/keys/gone');
  assert.equal(naming('PurgeKey', 'vaults/v1/keys/gone', 'deleted'), 0);
});

test('destructive requests name neither a spared vault nor anything created after it', () => {
  const known = new KnownValues();
  for (const name of ['vaults/old/keys/k', 'vaults/spared/keys/k']) known.addText('name', name);
  known.spare(['vaults/spared']);
  known.addText('name', 'vaults/later/keys/k');
  const named = new Set(requests('DeleteKey', known, 'older').map((request) => held(request, 'name')));
  assert.ok(named.has('vaults/old/keys/k'));
  assert.ok(!named.has('vaults/spared/keys/k') && !named.has('vaults/later/keys/k'), [...named].join());
});

test('a request from a template differs in one to four fields', () => {
  const { method } = methodOf('CreateDisk');
  const template = create(method.input);
  const fields = Object.entries({ parent: 'p', diskId: 'd', location: 'l', sku: 2, sizeGib: 3n });
  for (const [field, value] of fields) Object.assign(template, { [field]: value });
  const bytes = encoded(method, [reflect(method.input, template)]);
  let changed = 0;
  for (let seed = 0; seed < 100; seed += 1) {
    const [message] = messagesOf(method, bytes, sourceFor('CreateDisk', new KnownValues(), seed));
    const now = { ...message?.message } as Record<string, unknown>;
    const different = fields.filter(([field, value]) => now[field] !== value);
    // The id of the created resource changes in addition to one to three fields.
    assert.ok(different.length <= 4, `seed ${seed}: ${different.length}`);
    changed += different.length;
  }
  assert.ok(changed > 100, `${changed} in 100 requests`);
});

test('keeps no text of a message that names a protected principal', () => {
  const { method } = methodOf('CreateRoleAssignment');
  const answer = reflect(method.output, create(method.output));
  const request = reflect(method.input, create(method.input));
  Object.assign(answer.message, { name: 'roleAssignments/r', principal: 'principals/admin', scope: '/' });
  Object.assign(request.message, { principal: 'principals/admin', scope: '/' });
  assert.deepEqual(recordsOf(request, answer, ['admin']), [[]]);
  assert.ok(valuesOf(answer, []).length >= 3);
});
