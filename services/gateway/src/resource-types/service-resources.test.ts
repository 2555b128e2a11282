import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { testNames as names, testSubscription as subscription } from '../cloud/test-names.ts';
import type { Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { type ServiceParts, ServiceResources } from './service-resources.ts';
import type { GivenResource, ServiceResource, ServiceType } from './service-type.ts';

const caller = { as: () => ({}) } as unknown as Caller;
const url = 'https://localhost/x?api-version=2024-11-01';

/** Resources of a type with one resource in its service. @param has undefined: it does not exist */
const withOne = (has: ServiceResource | undefined, family: Work['family']) => {
  const started: Work[] = [];
  const operations = {
    run: async (work: Work) => {
      started.push(work);
      return work.accepted;
    },
  } as unknown as Operations;
  const type: ServiceType<ServiceResource, GivenResource> = {
    collection: 'disks',
    service: 'disk',
    family,
    does: { put: '', patch: '', get: '', delete: '', list: '' },
    body: Type.Object({}) as unknown as ServiceType<ServiceResource, GivenResource>['body'],
    secrets: ['password'],
    calls: {
      get: async () => {
        if (has === undefined) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no disk');
        return has;
      },
    } as unknown as ServiceType<ServiceResource, GivenResource>['calls'],
    etagOf: () => 'e1',
    incarnationOf: () => '1',
    namedBy: () => [],
    kept: (before) => before,
    shown: ({ name }) => name,
  };
  const routes = new ServiceResources(type, { names } as unknown as ServiceParts).routes(operations);
  const send = async (method: string, body: unknown = {}, headers: Readonly<Record<string, string>> = {}) => {
    const params = { subscription, group: 'G1', name: 'One' };
    const row = routes.find((one) => one.method === method);
    assert.ok(row);
    return row.handle({ params, query: {}, body, headers, origin: '', url, address: '' }, caller);
  };
  return { send, started };
};

const resource = {
  name: 'subscriptions/dev/resourceGroups/g1/disks/one',
  location: 'westeurope',
  provisioningState: '',
};
const body = { location: 'North Europe', properties: { size: 1, password: 'secret' } };

test('a running write replies with what was given, in the way of its family, and without secrets', async () => {
  const disks = withOne(undefined, 'DiskOperations');
  const reply = await disks.send('PUT', body);
  assert.equal(reply.status, 202);
  const id = `/subscriptions/${subscription}/resourceGroups/G1/providers/Microsoft.Compute/disks/One`;
  const properties = { size: 1, provisioningState: 'Updating' };
  assert.deepEqual(reply.body, { location: 'North Europe', properties, id, name: 'One' });
  assert.deepEqual(
    disks.started.map(({ action, target, location }) => [action, target, location]),
    [['disks/write', resource.name, 'northeurope']],
  );
  const created = await withOne(undefined, 'operations').send('PUT', body);
  const updated = await withOne(resource, 'operations').send('PUT', body);
  assert.deepEqual([created.status, updated.status], [201, 200]);
});

test('a write for another version of a resource is refused before anything starts', async () => {
  const { send, started } = withOne(resource, 'operations');
  for (const method of ['PUT', 'PATCH'])
    await assert.rejects(send(method, {}, { 'if-match': '"e2"' }), { status: 412, code: 'PreconditionFailed' });
  await assert.rejects(send('PUT', {}, { 'if-none-match': '*' }), { status: 412 });
  assert.deepEqual(started, []);
  await send('PATCH', {}, { 'if-match': '"e1"' });
  assert.deepEqual(
    started.map(({ action, location }) => [action, location]),
    [['disks/write', 'westeurope']],
  );
});

test('a resource that does not exist is 404 when it is read or changed, and 204 when it is deleted', async () => {
  const { send, started } = withOne(undefined, 'operations');
  await assert.rejects(send('GET'), { status: 404, code: 'ResourceNotFound' });
  await assert.rejects(send('PATCH'), { status: 404, code: 'ResourceNotFound' });
  assert.deepEqual(await send('DELETE'), { status: 204 });
  assert.deepEqual(started, []);
});
