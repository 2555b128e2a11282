import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, RpcFailure } from '@interlock/rpc';
import { currentTraceparent, inSpan, logger, seededRandom, traceIdOf, virtualClock } from '@interlock/runtime';
import { startTelemetry } from '@interlock/runtime/telemetry';
import { type ComputeClient, openLossReports, type ReportedLoss } from './loss-reports.ts';

const telemetry = startTelemetry({ service: 'test', random: seededRandom(1) });
after(() => telemetry.shutdown());
const { tracer } = telemetry;

const key = { set: 'sets/s', keyVersion: 'vaults/v/keys/k/versions/1' };
const taken = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
const lossOf = (traceparent: string, reported: Partial<ReportedLoss> = {}): ReportedLoss => ({
  reason: 'KEY_DISABLED',
  since: 1,
  accessEpoch: 7,
  traceId: traceIdOf(traceparent) ?? '',
  ...reported,
});

/** @returns the trace context and the content of the report that compute receives */
const reported = async (
  hear: (about: (loss: ReportedLoss) => void) => Promise<void>,
  stored: () => Promise<void> = async () => undefined,
) => {
  const received = Promise.withResolvers<{
    atMs: number;
    parent: string | undefined;
    request: ReportAccessLostRequest;
    options: CallOptions | undefined;
  }>();
  const ending = new AbortController();
  const clock = virtualClock();
  const compute: ComputeClient = {
    reportAccessLost: async (request, options) => {
      received.resolve({
        atMs: clock.monotonicMs(),
        parent: currentTraceparent(),
        request: request as ReportAccessLostRequest,
        options,
      });
      return { stoppingCount: 0 };
    },
  };
  const reports = openLossReports({
    compute,
    diskHost: 'disk-host-1',
    stored,
    clock,
    random: seededRandom(2),
    log: logger({ service: 'test', clock, write: () => undefined }),
    signal: ending.signal,
  });
  await hear((loss) => reports.about(key, loss, 'refusal'));
  const found = await clock.drive(received.promise);
  ending.abort();
  return found;
};

test('G2: a report waits a second at most until the host has stored what it found', async () => {
  const { atMs: atOnce } = await reported(async (about) => about(lossOf(taken)));
  const storeIsAway = new Promise<void>(() => undefined);
  const { atMs } = await reported(
    async (about) => about(lossOf(taken)),
    () => storeIsAway,
  );
  assert.equal(atMs - atOnce, 1_000);
});

test('G10: a report has the correlation id and the event of the loss, and no causes for an outage', async () => {
  const known = { event: 'key-vaults/v/keys/k@7', correlationId: 'of the revocation' };
  const { options } = await reported(async (about) => about(lossOf(taken, known)));
  assert.equal(options?.cause?.correlationId, 'of the revocation');
  assert.deepEqual(options?.cause?.causes, [{ id: 'key-vaults/v/keys/k@7', kind: 'step' }]);
  const outage = await reported(async (about) => about(lossOf(taken, { reason: 'KEY_VAULT_UNREACHABLE' })));
  assert.deepEqual(outage.options?.cause?.causes, []);
});

test('G10: a report is a child of the span that received the loss, if that span is in the trace of the loss', async () => {
  let work: string | undefined;
  const { parent, request } = await reported((about) =>
    inSpan(tracer, 'process disk-encryption-set', {}, () => {
      work = currentTraceparent();
      about(lossOf(work ?? ''));
    }),
  );
  assert.notEqual(work, undefined);
  assert.deepEqual([parent, request.traceId], [work, traceIdOf(work)]);
});

test('G10: if the loss is received in another trace, the report is a child of the commit that the vault named', async () => {
  const { parent, request } = await reported((about) =>
    inSpan(tracer, 'renew a lease', {}, () => about(lossOf(taken, { traceparent: taken }))),
  );
  assert.deepEqual([parent, request.traceId], [taken, traceIdOf(taken)]);
});

test('G10: if no span of the causing trace is known, the report keeps its own parent and names that trace', async () => {
  let work: string | undefined;
  const { parent, request } = await reported((about) =>
    inSpan(tracer, 'renew a lease', {}, () => {
      work = currentTraceparent();
      about(lossOf(taken));
    }),
  );
  assert.deepEqual([parent, request.traceId], [work, traceIdOf(taken)]);
  const outside = await reported(async (about) => about(lossOf(taken)));
  assert.deepEqual([outside.parent, outside.request.traceId], [undefined, traceIdOf(taken)]);
});

/** Reports to a compute whose responses the test sets. */
const toCompute = () => {
  const clock = virtualClock();
  const ending = new AbortController();
  const asked: { readonly atMs: number; readonly request: ReportAccessLostRequest }[] = [];
  let answer: () => Error | undefined = () => undefined;
  const reports = openLossReports({
    compute: {
      reportAccessLost: async (request) => {
        asked.push({ atMs: clock.monotonicMs(), request: request as ReportAccessLostRequest });
        const error = answer();
        if (error) throw error;
        return { stoppingCount: 0 };
      },
    },
    diskHost: 'disk-host-1',
    stored: async () => undefined,
    clock,
    random: seededRandom(2),
    log: logger({ service: 'test', clock, write: () => undefined }),
    signal: ending.signal,
  });
  return {
    reports,
    asked,
    pass: (ms: number) => clock.drive(clock.sleep(ms)),
    setCompute: (next: () => Error | undefined) => {
      answer = next;
    },
    stop: () => ending.abort(),
  };
};

test('G2: a report is retried until compute accepts it, also after token errors; only PERMISSION_DENIED is final', async () => {
  for (const [error, state] of [
    [new Rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE', 'away'), 'pending'],
    [new RpcFailure('DEADLINE_EXCEEDED', 'ReportAccessLost', 'compute', 'late'), 'pending'],
    [new Rejection('UNAUTHENTICATED', 'TOKEN_EXPIRED', 'expired'), 'pending'],
    [new Rejection('DATA_LOSS', 'BROKEN', 'broken'), 'pending'],
    [new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no'), 'refused'],
  ] as const) {
    const { reports, asked, pass, setCompute, stop } = toCompute();
    setCompute(() => error);
    reports.about(key, lossOf(taken), 'refusal');
    await pass(60_000);
    assert.equal(reports.stateOf(key), state, error.message);
    assert.equal(asked.length > 10, state === 'pending', `${error.message}: asked ${asked.length} times`);
    setCompute(() => undefined);
    await pass(10_000);
    assert.equal(reports.stateOf(key), state === 'pending' ? 'accepted' : state, error.message);
    stop();
  }
});

test('a published loss is reported after three seconds, and not at all if it is over by then', async () => {
  const { reports, asked, pass, stop } = toCompute();
  reports.about(key, lossOf(taken), 'fact');
  await pass(2_999);
  assert.equal(asked.length, 0);
  await pass(2);
  assert.deepEqual([asked.length, reports.stateOf(key)], [1, 'accepted']);
  reports.about(key, lossOf(taken, { accessEpoch: 8 }), 'fact');
  await pass(1_000);
  reports.about(key, undefined);
  await pass(10_000);
  assert.deepEqual([asked.length, reports.stateOf(key)], [1, undefined]);
  stop();
});

test('a loss is reported once; another epoch, reason or start is another loss; a missing epoch is reported as 0', async () => {
  const { reports, asked, pass, stop } = toCompute();
  const one = lossOf(taken);
  const deleted = { ...one, reason: 'KEY_DELETED' } as const;
  for (const loss of [
    one,
    { ...one },
    deleted,
    { ...deleted, accessEpoch: 8 },
    { ...deleted, accessEpoch: 8, since: 2 },
    { ...deleted, accessEpoch: undefined, since: 2 },
  ] as const) {
    reports.about(key, loss, 'refusal');
    await pass(1);
  }
  assert.deepEqual(
    asked.map(({ request }) => [request.accessEpoch, request.reason, request.since?.getTime()]),
    [
      [7, 'KEY_DISABLED', 1],
      [7, 'KEY_DELETED', 1],
      [8, 'KEY_DELETED', 1],
      [8, 'KEY_DELETED', 2],
      [0, 'KEY_DELETED', 2],
    ],
  );
  stop();
});
