import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { diskDataMethods } from '../commands/disk-data.ts';
import { comments } from '../request/comments.ts';
import { fieldsOf, flagsOf } from '../request/field-flags.ts';
import { methodOf } from '../request/schema.ts';
import { nouns, verbs } from './table.ts';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
const everyRpc = [...registry]
  .flatMap((type) => (type.kind === 'service' ? type.methods : []))
  .map(({ parent, name }) => `${parent.typeName}/${name}`);

/** Called by other processes of the service at the address of one host. The command line knows the address of the service. */
const ofHosts = /^interlock\.(disk\.v1\.DiskHostService|compute\.v1\.VmHostService)\//;

test('every RPC of every service is a command; only drains of hosts are two', () => {
  const covered = [
    ...verbs.flatMap(({ contract, method, versionMethod, many }) =>
      [method, versionMethod ?? [], many?.method ?? []].flat().map((name) => methodOf(contract, name).path),
    ),
    ...diskDataMethods.map((name) => `interlock.disk.v1.DiskDataService/${name}`),
  ];
  assert.ok(everyRpc.length > 80);
  const twice = covered.filter((path, at) => covered.indexOf(path) !== at);
  const drains = ['interlock.disk.v1.DiskService/DrainDiskHost', 'interlock.compute.v1.ComputeService/DrainVmHost'];
  assert.deepEqual(twice, drains);
  const callable = everyRpc.filter((path) => !ofHosts.test(path));
  assert.deepEqual([...new Set(covered)].toSorted(), callable.toSorted());
});

test('a noun and a verb name one command, and every noun is described', () => {
  const names = verbs.map(({ noun, verb }) => `${noun} ${verb}`);
  assert.deepEqual(names, [...new Set(names)]);
  assert.deepEqual([...new Set(verbs.map(({ noun }) => noun))].toSorted(), Object.keys(nouns).toSorted());
});

test('every field of every request can be typed', () => {
  for (const verb of verbs) {
    const { request } = methodOf(verb.contract, verb.method);
    const flags = flagsOf(request, verb);
    const reached = new Set([
      ...(verb.targets ?? []).flatMap(fieldsOf),
      ...flags.map(({ path: [field] }) => field?.name),
    ]);
    assert.deepEqual(
      request.fields.filter(({ name }) => !reached.has(name)).map(({ name }) => name),
      [],
      `${verb.noun} ${verb.verb}`,
    );
    const flagNames = flags.map(({ name }) => name);
    assert.deepEqual(flagNames, [...new Set(flagNames)], `${verb.noun} ${verb.verb}`);
  }
});

test('an RPC for a key version takes the same request as the RPC for the key', () => {
  for (const { contract, method, versionMethod } of verbs) {
    if (versionMethod === undefined) continue;
    const [whole, one] = [method, versionMethod].map((name) => methodOf(contract, name).request.fields);
    const shapeOf = (fields: typeof whole) => fields?.map(({ name, number, fieldKind }) => [name, number, fieldKind]);
    assert.deepEqual(shapeOf(one), shapeOf(whole), method);
  }
});

test('an RPC for several resources takes their names and returns an outcome for each', () => {
  const found = verbs.filter(({ many }) => many !== undefined);
  assert.ok(found.length > 0);
  for (const { contract, method, many, targets } of found) {
    assert.ok(many);
    const { request, response } = methodOf(contract, many.method);
    assert.deepEqual(
      request.fields.map(({ name, fieldKind }) => [name, fieldKind]),
      [[many.field, 'list']],
    );
    assert.equal(targets?.length, 1);
    const outcomes = response.fields.find(({ name }) => name === 'outcomes')?.message?.fields ?? [];
    assert.deepEqual(
      outcomes.map((field) => (field.name === 'refused' ? 'refused' : field.message)),
      [methodOf(contract, method).response, 'refused'],
    );
  }
});

test('the request and response fields that a verb names exist', () => {
  for (const { contract, method, output, settles, defaults, noun, verb } of verbs) {
    const { response, request } = methodOf(contract, method);
    if (output !== undefined)
      assert.ok(
        response.fields.some(({ jsonName }) => jsonName === output),
        `${noun} ${verb}`,
      );
    if (settles !== undefined) assert.equal(methodOf(contract, settles.get).response, response);
    for (const name of Object.keys(defaults ?? {})) {
      assert.ok(
        request.fields.some((field) => field.name === name),
        `${noun} ${verb}: ${name}`,
      );
    }
  }
});

test('every request with a request_id has a flag for it, and a new id by default', () => {
  const taking = verbs.filter(({ contract, method }) =>
    methodOf(contract, method).request.fields.some(({ name }) => name === 'request_id'),
  );
  assert.ok(taking.length >= 6, String(taking.length));
  for (const verb of taking) {
    const flag = flagsOf(methodOf(verb.contract, verb.method).request, verb).find(({ name }) => name === 'request-id');
    // A detach names the request of the attach that is given up: with a new id it would detach nothing.
    assert.equal(flag?.isFresh, verb.method !== 'DetachDisk', `${verb.noun} ${verb.verb}`);
  }
});

test('every command and every flag has a help text from the contracts', () => {
  for (const verb of verbs) {
    assert.notEqual(comments.method(verb.contract, verb.method), '', verb.method);
    for (const { field } of flagsOf(methodOf(verb.contract, verb.method).request, verb)) {
      assert.notEqual(comments.field(field.parent.typeName, field.name), '', `${field.parent.typeName}.${field.name}`);
    }
  }
});
