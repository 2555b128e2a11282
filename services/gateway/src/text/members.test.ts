import assert from 'node:assert/strict';
import { test } from 'node:test';
import Fastify from 'fastify';
import { TagsBody } from '../management/arm.ts';

test('a tag fits its schema whatever its name, also with a line break', async () => {
  const server = Fastify();
  server.post('/', { schema: { body: TagsBody } }, async () => 'fits');
  const statusOf = async (payload: object): Promise<number> =>
    (await server.inject({ method: 'POST', url: '/', payload })).statusCode;
  assert.equal(await statusOf({ 'a\nb': 'x', c: '' }), 200);
  assert.equal(await statusOf({ 'a\nb': { c: 1 } }), 400);
  assert.equal(await statusOf({ 'a\nb': 'x'.repeat(257) }), 400);
  assert.equal(await statusOf({ ['n'.repeat(513)]: 'x' }), 400);
  await server.close();
});
