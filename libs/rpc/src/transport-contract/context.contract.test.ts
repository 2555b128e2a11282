import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CausedBy, followed } from '@interlock/event-store';
import { contextFromTraceparent, traceIdOf } from '@interlock/runtime';
import { context, propagation, SpanKind, trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import { type Call, currentCall } from '../call.ts';
import { manualClock } from '../test-clock.ts';
import { overEachTransport, rejection } from './test-transports.ts';

overEachTransport('context of calls', ({ echo }) => {
  test('a handler receives the caller, the cause and the deadline of its call', async () => {
    const clock = manualClock();
    let seen: Call | undefined;
    const { client } = await echo({
      clock,
      handlers: {
        echo: async (word, call) => {
          seen = call;
          return word;
        },
      },
    });
    assert.deepEqual(await client.echo({ text: 'a' }, { cause: { correlationId: 'corr-1' }, deadlineMs: 5_000 }), {
      text: 'a',
    });
    assert.equal(seen?.caller.name, 'principals/user-1');
    assert.equal(seen?.token, 'user-1');
    assert.equal(seen?.cause.correlationId, 'corr-1');
    assert.deepEqual(seen?.cause.causes, []);
    assert.equal(seen?.cause.caller, 'principals/user-1');
    assert.equal(seen?.deadline, clock.now() + 5_000);
    assert.equal(seen?.signal.aborted, false);
  });

  test('a call without a correlation id gets its request id as one', async () => {
    const seen: Call[] = [];
    const { client } = await echo({
      handlers: {
        echo: async (word, call) => {
          seen.push(call);
          return word;
        },
      },
    });
    await client.echo({ text: '' });
    await client.echo({ text: '' });
    assert.equal(seen[0]?.cause.correlationId, seen[0]?.requestId);
    assert.notEqual(seen[0]?.requestId, seen[1]?.requestId);
  });

  test('a call made while serving another has its correlation id and at most its deadline', async () => {
    const clock = manualClock();
    const seen: Call[] = [];
    const inner = await echo({
      clock,
      handlers: {
        echo: async (word, call) => {
          seen.push(call);
          return word;
        },
      },
    });
    const outer = await echo({
      clock,
      handlers: {
        echo: async (word, call) => {
          seen.push(call);
          assert.equal(currentCall()?.requestId, call.requestId);
          return inner.client.echo(word, { deadlineMs: 60_000 });
        },
      },
    });
    await outer.client.echo({ text: '' }, { deadlineMs: 700 });
    const [first, second] = seen;
    assert.equal(second?.cause.correlationId, first?.cause.correlationId);
    assert.notEqual(second?.requestId, first?.requestId);
    assert.equal(second?.deadline, first?.deadline);
  });

  for (const [key, value] of [
    ['x-interlock-correlation-id', 'two words'],
    ['x-interlock-correlation-id', 'x'.repeat(65)],
  ] as const) {
    test(`metadata ${key}=${value.slice(0, 9)}… is refused by name`, async () => {
      const { client } = await echo();
      await assert.rejects(
        client.echo({ text: '' }, { metadata: Metadata({ [key]: value }) }),
        rejection('INVALID_ARGUMENT', 'METADATA_INVALID', { key }),
      );
    });
  }

  test('client and server share no objects', async () => {
    const sent = { text: 'a' };
    let received: unknown;
    const { client } = await echo({
      handlers: {
        echo: async (word) => {
          received = word;
          return word;
        },
      },
    });
    const answer = await client.echo(sent);
    assert.notEqual(received, sent);
    assert.notEqual(answer, received);
  });
});

overEachTransport('traces and causes of calls', ({ echo, spanCount, spans, tracer }) => {
  test('G10: a call of a service carries the event behind it, and returns the events that it caused', async () => {
    const seen: (readonly CausedBy[])[] = [];
    const { client } = await echo({
      handlers: {
        echo: async (word, { cause }) => {
          seen.push(cause.causes);
          cause.tracker?.stored('disk-d', 3);
          return word;
        },
      },
    });
    for (const token of ['workload:compute', 'user-1']) {
      const cause = followed({ correlationId: 'c', causes: [{ id: 'vm-v@2', kind: 'step' }], caller: 'system:test' });
      await client.echo({ text: 'a' }, { token, cause });
      const isService = token !== 'user-1';
      assert.deepEqual(seen.at(-1), isService ? [{ id: 'vm-v@2', kind: 'call' }] : []);
      const answers = isService ? [{ id: 'disk-d@3', kind: 'answer' }] : [];
      assert.deepEqual(cause.tracker?.causesOf(undefined, []), answers, 'a user does not receive the events');
    }
  });

  test('tracestate and baggage reach the handler and the cause of its events; events keep no long baggage', async () => {
    let seen: readonly (string | undefined)[] = [];
    const { connect } = await echo({
      handlers: {
        echo: async (word, { cause }) => {
          const active = context.active();
          const state = trace.getSpanContext(active)?.traceState?.get('vendor');
          const tenant = propagation.getBaggage(active)?.getEntry('tenant')?.value;
          seen = [state, tenant?.slice(0, 3), cause.tracestate, cause.baggage];
          return word;
        },
      },
    });
    const above = contextFromTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'vendor=a');
    const baggage = propagation.createBaggage({ tenant: { value: 'b c' } });
    const client = connect({ tracer: tracer() });
    await context.with(propagation.setBaggage(above, baggage), () => client.echo({ text: '' }));
    assert.deepEqual(seen, ['a', 'b c', 'vendor=a', 'tenant=b%20c']);
    const long = propagation.createBaggage({ tenant: { value: 'x'.repeat(1_024) } });
    await context.with(propagation.setBaggage(above, long), () => client.echo({ text: '' }));
    assert.deepEqual(seen, ['a', 'xxx', 'vendor=a', undefined]);
  });

  test('the spans of a failed call have its status as error.type, on both sides', async () => {
    const { connect } = await echo({
      handlers: {
        echo: async () => {
          throw new Error('broken');
        },
      },
    });
    await assert.rejects(connect({ tracer: tracer() }).echo({ text: '' }));
    await spanCount(2);
    const ofCalls = spans.getFinishedSpans().filter(({ attributes }) => 'rpc.method' in attributes);
    assert.deepEqual(
      ofCalls.map(({ attributes }) => attributes['error.type']),
      ['INTERNAL', 'INTERNAL'],
    );
  });

  test('the span of the server is a child of the span of the client', async () => {
    let seen: Call | undefined;
    const { connect } = await echo({
      handlers: {
        echo: async (word, call) => {
          seen = call;
          return word;
        },
      },
    });
    await connect({ tracer: tracer() }).echo({ text: '' });
    await spanCount(2);
    const [server, client] = [SpanKind.SERVER, SpanKind.CLIENT].map((kind) =>
      spans.getFinishedSpans().find((span) => span.kind === kind),
    );
    assert.equal(server?.name, 'test.Echo/Echo');
    assert.equal(client?.name, 'test.Echo/Echo');
    assert.equal(server?.parentSpanContext?.spanId, client?.spanContext().spanId);
    assert.equal(server?.spanContext().traceId, client?.spanContext().traceId);
    assert.equal(traceIdOf(seen?.cause.traceparent), server?.spanContext().traceId);
    assert.equal(server?.attributes['rpc.status_code'], 'OK');
  });
});
