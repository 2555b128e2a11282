import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Value } from '@sinclair/typebox/value';
import { testWork } from '../text/test-work.ts';
import { evaluate } from './expressions.ts';
import { filledIn } from './reference.ts';
import { Parameters, resolveTemplate, Template, templateLimits } from './template.ts';

const place = { subscription: 's', tenant: 't', group: 'g', location: 'westeurope', deployment: 'd1' };
const scope = () => ({
  ...place,
  parameter: async (name: string) => `p-${name}`,
  variable: async () => ['x', { y: 1 }],
  work: testWork(templateLimits),
});
const invalid = { status: 400, code: 'InvalidTemplate' };
const resolve = (template: object, given: object = {}) =>
  resolveTemplate({ resources: [], ...template }, given as never, place, testWork(templateLimits));
const disk = (name: string, more: object = {}) => ({ type: 'Microsoft.Compute/disks', apiVersion: '1', name, ...more });

test('expressions: functions, members and escapes are evaluated; other texts stay as they are', async () => {
  const values: Readonly<Record<string, unknown>> = {
    "[concat('it''s ', parameters('a'), 1)]": "it's p-a1",
    "[variables('v')[1].y]": 1,
    "[resourceId('Microsoft.Compute/disks', 'd')]":
      '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d',
    "[resourceId('other', 'Microsoft.Network/virtualNetworks/subnets', 'v', 'n')]":
      '/subscriptions/s/resourceGroups/other/providers/Microsoft.Network/virtualNetworks/v/subnets/n',
    '[resourceGroup().location]': 'westeurope',
    '[subscription().subscriptionId]': 's',
    "[format('{0}-{1}', toUpper('a'), length('abc'))]": 'A-3',
    "[if(equals(1, 1), take('abcdef', 2), 'no')]": 'ab',
    "[guid('a', 'b')]": '2d796349-8c7e-55ec-9624-54ece82ed031',
    "[replace(deployment().name, '1', '2')]": 'd2',
    "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'r')]":
      '/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/r',
    "[extensionResourceId('/x', 'Microsoft.Authorization/locks', 'l')]": '/x/providers/Microsoft.Authorization/locks/l',
    '[json(\'{"a": [1]}\').a[0]]': 1,
    '[[literal]': '[literal]',
    '[1': '[1',
    plain: 'plain',
  };
  for (const [text, value] of Object.entries(values)) assert.deepEqual(await evaluate(text, scope()), value, text);
});

test('an unsupported, malformed or deeply nested expression is refused', async () => {
  const refused = [
    "[concat(reference('x').y, 'a')]",
    '[copyIndex()]',
    "[json('{')]",
    "[concat('a']",
    '[parameters(1)]',
    "['a' 'b']",
    '[concat(concat)]',
    '[]',
    '[$]',
  ];
  refused.push(`[${'concat('.repeat(5_000)}'a'${')'.repeat(5_000)}]`, "[resourceId('x')]", '[resourceGroup().x]');
  for (const text of refused) await assert.rejects(evaluate(text, scope()), invalid, text.slice(0, 40));
});

test('resources are ordered after those that they depend on, by id, by type and name, or by name', async () => {
  const { resources } = await resolve({
    resources: [
      disk('c', { dependsOn: ["[resourceId('Microsoft.Compute/disks', 'b')]"], properties: { size: 1 } }),
      disk('b', { dependsOn: ['microsoft.compute/DISKS/A'], condition: false }),
      disk('a'),
      disk('d', { dependsOn: ['c'] }),
    ],
  });
  assert.deepEqual(
    resources.map(({ name }) => name),
    ['a', 'c', 'd'],
  );
  assert.deepEqual(resources[1]?.body, { properties: { size: 1 } });
  await assert.rejects(
    resolve({ resources: [disk('a', { dependsOn: ['b'] }), disk('b', { dependsOn: ['a'] })] }),
    invalid,
  );
  await assert.rejects(resolve({ resources: [disk('a', { dependsOn: ['missing'] })] }), invalid);
  await assert.rejects(resolve({ resources: [disk('a'), disk('A')] }), invalid);
  await assert.rejects(resolve({ resources: [disk('a', { copy: {} })] }), invalid);
});

test('a resource is ordered after the one that it references, and the value is read at deployment', async () => {
  const value = "[reference(resourceId('Microsoft.Compute/disks', 'b'), '1', 'full').identity.principalId]";
  const { resources, outputs } = await resolve({
    resources: [disk('a', { properties: { objectId: value } }), disk('b')],
    outputs: { state: { type: 'string', value: "[reference('b').diskState]" } },
  });
  assert.deepEqual(
    resources.map(({ name }) => name),
    ['b', 'a'],
  );
  const b = { identity: { principalId: 'p' }, properties: { diskState: 'Unattached' } };
  assert.deepEqual(await filledIn(resources[1]?.body ?? {}, async () => b), { properties: { objectId: 'p' } });
  assert.deepEqual(await filledIn(outputs, async () => b), { state: { type: 'string', value: 'Unattached' } });
  await assert.rejects(
    filledIn(outputs, async () => ({ properties: {} })),
    /no property 'diskState'/,
  );
  await assert.rejects(resolve({ resources: [disk("[reference('b').name]"), disk('b')] }), invalid);
});

test('parameters: defaults, types, allowed values; a value of a secure parameter is not kept', async () => {
  const parameters = {
    size: { type: 'int', allowedValues: [1, 2] },
    place: { type: 'string', defaultValue: '[resourceGroup().location]' },
    password: { type: 'secureString' },
  };
  const resources = [disk('a', { location: "[parameters('PLACE')]", properties: { p: "[parameters('password')]" } })];
  const given = { size: { value: 2 }, password: { value: 'secret' } };
  const resolved = await resolve({ parameters, resources }, given);
  assert.deepEqual(resolved.resources[0]?.body, { location: 'westeurope', properties: { p: '(secure)' } });
  assert.equal(JSON.stringify(resolved).includes('secret"'), false);
  for (const wrong of [{}, { ...given, size: { value: 3 } }, { ...given, size: { value: '1' } }, { ...given, x: {} }]) {
    await assert.rejects(resolve({ parameters, resources }, wrong), invalid, JSON.stringify(wrong));
  }
});

test('variables that refer to themselves or grow exponentially are refused', async () => {
  const resources = [disk("[variables('v0')]")];
  await assert.rejects(resolve({ variables: { v0: "[variables('v0')]" }, resources }), invalid);
  const doubling = (make: (next: string) => unknown) =>
    Object.fromEntries([
      ...Array.from({ length: 40 }, (_, n): [string, unknown] => [`v${n}`, make(`[variables('v${n + 1}')]`)]),
      ['v40', 'x'],
    ]);
  const inner = (text: string): string => text.slice(1, -1);
  const texts = doubling((next) => `[concat(${inner(next)}, ${inner(next)})]`);
  await assert.rejects(resolve({ variables: texts, resources }), invalid);
  const objects = doubling((next) => ({ a: next, b: next }));
  await assert.rejects(resolve({ variables: objects, resources }), invalid);
});

/** Evaluates more than one request may. */
const large = {
  variables: { a: Array.from({ length: 9_000 }, (_, n) => n) },
  outputs: { o: { type: 'array', value: Array.from({ length: 200 }, () => "[length(variables('a'))]") } },
};

test('a template that nests too deeply, is too long, or makes what cannot be stored is refused', async () => {
  const output = (value: unknown) => ({ outputs: { o: { type: 'string', value } } });
  const chain = Array.from({ length: 400 }, (_, n): [string, unknown] => [`v${n}`, `[variables('v${n + 1}')]`]);
  const brackets = (mark: string): string => `replace(variables('x'),'x','${mark}')`;
  const refused = [
    { variables: Object.fromEntries([...chain, ['v400', 1]]), ...output("[variables('v0')]") },
    { variables: { x: 'x'.repeat(100_000) }, ...output(`[json(concat(${brackets('[')},${brackets(']')}))]`) },
    output(`[concat('${'x'.repeat(24_577)}')]`),
    output(`[reference('x')${'.a'.repeat(1_000)}]`),
    output("[take('\u{1f600}',1)]"),
    output("[json(concat('\"\\','u0000\"'))]"),
    output(Array.from({ length: 801 }, (_, n) => `[reference('r${n}').a]`)),
    large,
    { resources: [disk('[first(createArray())]')] },
  ];
  for (const template of refused)
    await assert.rejects(resolve(template), invalid, JSON.stringify(template).slice(0, 100));
});

test('a long evaluation gives other requests a turn again and again', async () => {
  let turns = 0;
  const work = testWork(templateLimits, async () => {
    turns += 1;
  });
  await assert.rejects(resolveTemplate({ resources: [], ...large }, {}, place, work), invalid);
  assert.ok(turns >= 60, `${turns} turns`);
});

test('800 resources that depend on each other in the worst order are ordered', async () => {
  const names = Array.from({ length: 800 }, (_, n) => `r${n}`);
  const { resources } = await resolve({
    resources: names.map((name, n) => disk(name, { dependsOn: names.slice(n + 1, n + 300).toReversed() })),
  });
  assert.deepEqual(
    resources.map(({ name }) => name),
    names.toReversed(),
  );
});

test('a member that only looks like a reference is a value', async () => {
  const properties = { $reference: { resource: 1 } };
  const { resources } = await resolve({ resources: [disk('a', { properties })] });
  assert.deepEqual(resources[0]?.body, { properties });
  assert.deepEqual(await filledIn(resources[0]?.body ?? {}, async () => null), { properties });
});

test('each resource is read once for all references to it, and their values together are limited', async () => {
  const reads: string[] = [];
  const read = async (resource: string) => {
    reads.push(resource);
    return { properties: { text: 'x'.repeat(100_000) } };
  };
  const values = (count: number) => Array.from({ length: count }, () => "[reference('A').text]");
  const { outputs } = await resolve({ outputs: { o: { type: 'array', value: values(9) } } });
  await filledIn(outputs, read);
  assert.deepEqual(reads, ['A']);
  const larger = await resolve({ outputs: { o: { type: 'array', value: values(11) } } });
  await assert.rejects(filledIn(larger.outputs, read), /larger than 1000000 characters/);
});

test('every parameter, variable and output fits its schema, whatever its name; their number is limited', () => {
  const named = (count: number, value: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`n${n}`, value]));
  assert.ok(Value.Check(Template, { resources: [], parameters: named(256, { type: 'int' }) }));
  assert.ok(!Value.Check(Template, { resources: [], parameters: named(257, { type: 'int' }) }));
  assert.ok(!Value.Check(Template, { resources: [], variables: named(513, 1) }));
  assert.ok(!Value.Check(Template, { resources: [], outputs: named(65, { type: 'int' }) }));
  assert.ok(!Value.Check(Template, { resources: [], parameters: { 'a\nb': 5 } }));
  assert.ok(!Value.Check(Parameters, { 'a\nb': 5 }));
});
