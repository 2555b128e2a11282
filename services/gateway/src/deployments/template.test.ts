import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluate } from './expressions.ts';
import { filledIn } from './reference.ts';
import { resolveTemplate } from './template.ts';

const place = { subscription: 's', tenant: 't', group: 'g', location: 'westeurope', deployment: 'd1' };
const scope = { ...place, parameter: (name: string) => `p-${name}`, variable: () => ['x', { y: 1 }] };
const invalid = { status: 400, code: 'InvalidTemplate' };
const resolve = (template: object, given: object = {}) =>
  resolveTemplate({ resources: [], ...template }, given as never, place);
const disk = (name: string, more: object = {}) => ({ type: 'Microsoft.Compute/disks', apiVersion: '1', name, ...more });

test('expressions: functions, members and escapes are evaluated; other texts stay as they are', () => {
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
  for (const [text, value] of Object.entries(values)) assert.deepEqual(evaluate(text, scope), value, text);
});

test('an unsupported, malformed or deeply nested expression is refused', () => {
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
  for (const text of refused) assert.throws(() => evaluate(text, scope), invalid, text.slice(0, 40));
});

test('resources are ordered after those that they depend on, by id, by type and name, or by name', () => {
  const { resources } = resolve({
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
  assert.throws(
    () => resolve({ resources: [disk('a', { dependsOn: ['b'] }), disk('b', { dependsOn: ['a'] })] }),
    invalid,
  );
  assert.throws(() => resolve({ resources: [disk('a', { dependsOn: ['missing'] })] }), invalid);
  assert.throws(() => resolve({ resources: [disk('a'), disk('A')] }), invalid);
  assert.throws(() => resolve({ resources: [disk('a', { copy: {} })] }), invalid);
});

test('a resource is ordered after the one that it references, and the value is read at deployment', async () => {
  const value = "[reference(resourceId('Microsoft.Compute/disks', 'b'), '1', 'full').identity.principalId]";
  const { resources, outputs } = resolve({
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
  assert.throws(() => resolve({ resources: [disk("[reference('b').name]"), disk('b')] }), invalid);
});

test('parameters: defaults, types, allowed values; a value of a secure parameter is not kept', () => {
  const parameters = {
    size: { type: 'int', allowedValues: [1, 2] },
    place: { type: 'string', defaultValue: '[resourceGroup().location]' },
    password: { type: 'secureString' },
  };
  const resources = [disk('a', { location: "[parameters('PLACE')]", properties: { p: "[parameters('password')]" } })];
  const given = { size: { value: 2 }, password: { value: 'secret' } };
  const resolved = resolve({ parameters, resources }, given);
  assert.deepEqual(resolved.resources[0]?.body, { location: 'westeurope', properties: { p: '(secure)' } });
  assert.equal(JSON.stringify(resolved).includes('secret"'), false);
  for (const wrong of [{}, { ...given, size: { value: 3 } }, { ...given, size: { value: '1' } }, { ...given, x: {} }]) {
    assert.throws(() => resolve({ parameters, resources }, wrong), invalid, JSON.stringify(wrong));
  }
});

test('variables that refer to themselves or grow exponentially are refused', () => {
  const resources = [disk("[variables('v0')]")];
  assert.throws(() => resolve({ variables: { v0: "[variables('v0')]" }, resources }), invalid);
  const doubling = (make: (next: string) => unknown) =>
    Object.fromEntries([
      ...Array.from({ length: 40 }, (_, n): [string, unknown] => [`v${n}`, make(`[variables('v${n + 1}')]`)]),
      ['v40', 'x'],
    ]);
  const inner = (text: string): string => text.slice(1, -1);
  const texts = doubling((next) => `[concat(${inner(next)}, ${inner(next)})]`);
  assert.throws(() => resolve({ variables: texts, resources }), invalid);
  const objects = doubling((next) => ({ a: next, b: next }));
  assert.throws(() => resolve({ variables: objects, resources }), invalid);
});
