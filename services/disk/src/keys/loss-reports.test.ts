import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { ReportAccessLostRequest } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import {
  currentTraceparent,
  inSpan,
  logger,
  seededRandom,
  startTelemetry,
  traceIdOf,
  virtualClock,
} from '@interlock/runtime';
import { type ComputeClient, openLossReports, type ReportedLoss } from './loss-reports.ts';

const telemetry = startTelemetry({ service: 'test', random: seededRandom(1) });
after(() => telemetry.shutdown());
const { tracer } = telemetry;

const key = { set: 'sets/s', keyVersion: 'vaults/v/keys/k/versions/1' };
const taken = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
const lossOf = (traceparent: string, told: Partial<ReportedLoss> = {}): ReportedLoss => ({
  reason: 'KEY_DISABLED',
  since: 1,
  accessEpoch: 7,
  traceId: traceIdOf(traceparent) ?? '',
  ...told,
});

/** @returns in which trace context compute was told, and what */
const told = async (hear: (about: (loss: ReportedLoss) => void) => Promise<void>) => {
  const heard = Promise.withResolvers<{ parent: string | undefined; request: ReportAccessLostRequest }>();
  const ending = new AbortController();
  const clock = virtualClock();
  const compute: ComputeClient = {
    reportAccessLost: async (request) => {
      heard.resolve({ parent: currentTraceparent(), request: request as ReportAccessLostRequest });
      return { stoppingCount: 0 };
    },
  };
  const reports = openLossReports({
    compute,
    diskHost: 'disk-host-1',
    clock,
    random: seededRandom(2),
    log: logger({ service: 'test', clock, write: () => undefined }),
    signal: ending.signal,
  });
  await hear((loss) => reports.about(key, loss, 'refusal'));
  const found = await clock.drive(heard.promise);
  ending.abort();
  return found;
};

test('G10: a report belongs below the work in which its host heard of the loss, where that is of the same trace', async () => {
  let work: string | undefined;
  const { parent, request } = await told((about) =>
    inSpan(tracer, 'process disk-encryption-set', {}, () => {
      work = currentTraceparent();
      about(lossOf(work ?? ''));
    }),
  );
  assert.notEqual(work, undefined);
  assert.deepEqual([parent, request.traceId], [work, traceIdOf(work)]);
});

test('G10: heard of in another trace, a report belongs below the commit that the vault named', async () => {
  const { parent, request } = await told((about) =>
    inSpan(tracer, 'renew a lease', {}, () => about(lossOf(taken, { traceparent: taken }))),
  );
  assert.deepEqual([parent, request.traceId], [taken, traceIdOf(taken)]);
});

test('G10: where no span of the trace of the cause is known none is made up, and the report says which trace is meant', async () => {
  let work: string | undefined;
  const { parent, request } = await told((about) =>
    inSpan(tracer, 'renew a lease', {}, () => {
      work = currentTraceparent();
      about(lossOf(taken));
    }),
  );
  assert.deepEqual([parent, request.traceId], [work, traceIdOf(taken)]);
  const outside = await told(async (about) => about(lossOf(taken)));
  assert.deepEqual([outside.parent, outside.request.traceId], [undefined, traceIdOf(taken)]);
});
