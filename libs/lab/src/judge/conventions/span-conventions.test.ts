import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Span } from '../../spans/span-store.ts';
import { conventions, deviationsOf } from './span-conventions.ts';

const span = (attributes: Span['attributes'], more: Partial<Span> = {}): Span => ({
  ...{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), parentSpanId: undefined, service: 'disk', name: 'x' },
  ...{ kind: 'client', startMs: 0, durationMs: 1, status: 'unset', statusMessage: '', links: [], events: [] },
  attributes,
  ...more,
});

const link = { traceId: 'c'.repeat(32), spanId: 'd'.repeat(16), attributes: {} };
const server = { 'server.address': 'host', 'server.port': 1 };
const call = { 'rpc.system.name': 'grpc', 'rpc.method': 'p.S/M', 'rpc.status_code': 'OK', ...server };
const message = {
  'messaging.system.name': 'nats',
  'messaging.operation.name': 'publish',
  'messaging.operation.type': 'send',
  'messaging.destination.name': 'facts.disk.0',
  ...server,
};
const commit = { 'db.system.name': 'postgresql', 'db.namespace': 'disk', 'db.operation.name': 'COMMIT', ...server };

const good: readonly Span[] = [
  span(call),
  span(call, { kind: 'server' }),
  span({ ...call, 'rpc.status_code': 'NOT_FOUND', 'error.type': 'NOT_FOUND' }, { status: 'error' }),
  span({ ...call, 'rpc.status_code': 'NOT_FOUND' }, { kind: 'server' }),
  span(message, { kind: 'producer' }),
  span(commit),
  span({}, { kind: 'internal' }),
  span({ ...message, 'messaging.batch.message_count': 2 }, { links: [link] }),
  span({ 'http.request.header.x': 'y', 'interlock.vm': 'v' }, { kind: 'internal' }),
];

test('accepts spans that follow the conventions, and names each missing required attribute', () => {
  for (const one of good) {
    assert.deepEqual(deviationsOf(one), []);
    const required = conventions.flatMap((convention) => (convention.isOf(one) ? convention.required : []));
    // Without rpc.system.name a span belongs to no convention.
    for (const name of required.filter((key) => key !== 'rpc.system.name')) {
      const { [name]: _, ...attributes } = one.attributes;
      assert.match(deviationsOf({ ...one, attributes }).join(), new RegExp(`${name} is missing`));
    }
  }
});

test('reports a wrong kind, a wrong status and an error without its type', () => {
  const wrong: readonly (readonly [Span, RegExp])[] = [
    [span(call, { kind: 'internal' }), /the kind is internal/],
    [span({ ...call, 'rpc.status_code': 'NOT_FOUND' }), /NOT_FOUND is no error/],
    [span({ ...call, 'rpc.status_code': 'INTERNAL' }, { kind: 'server' }), /INTERNAL is no error/],
    [span({ ...call, 'error.type': 'X' }), /the span has not failed/],
    [span(commit, { status: 'error' }), /error.type is missing/],
    [span(message, { kind: 'consumer' }), /send has the kind consumer/],
    [
      span({ ...message, 'messaging.batch.message_count': 2, 'messaging.message.id': 'a' }, { kind: 'producer' }),
      /a batch has the id of one message/,
    ],
    [
      span({ ...message, 'messaging.batch.message_count': 1 }, { kind: 'producer' }),
      /a single message has the count of a batch/,
    ],
    [
      span({ ...message, 'messaging.batch.message_count': 2 }, { kind: 'producer', links: [link] }),
      /send has the kind producer/,
    ],
    // Names that the installed package deprecates, or does not have.
    [
      span({ ...call, 'rpc.response.status_code': 'OK' }),
      /rpc\.response\.status_code is deprecated: .*rpc\.status_code/,
    ],
    [span({ ...commit, 'db.name': 'x' }), /db\.name is deprecated/],
    [span({ ...commit, 'db.invented': 'x' }), /the conventions have no db\.invented/],
    [
      span({ ...commit, 'error.type': 'X' }, { status: 'error', statusMessage: 'X' }),
      /the text of the status repeats error\.type/,
    ],
    [span({ x: 1 }), /belongs to no convention/],
  ];
  for (const [one, expected] of wrong) assert.match(deviationsOf(one).join(), expected);
});
