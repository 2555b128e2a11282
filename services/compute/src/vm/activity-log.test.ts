import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activityLogOf } from './activity-log.ts';
import type { VmEvent } from './events.ts';
import { at, disk, lossOf, running, setOf, version1, vm, work } from './test-machine.ts';

const traces = { create: 'a1'.repeat(16), loss: 'b2'.repeat(16), stop: 'c3'.repeat(16), back: 'd4'.repeat(16) };

/** Status and trace of each log row of a machine, for events stored with these traces. */
const logOf = (events: readonly (readonly [VmEvent, string | undefined])[]) =>
  entriesOf(events).map(({ status, properties }) => [status, properties.traceId]);

/** The log of a machine: each event is stored a second after the one before. */
const entriesOf = (events: readonly (readonly [VmEvent, string | undefined])[]) =>
  activityLogOf(
    vm,
    events.map(([{ type, ...data }, traceId], n) => ({
      position: n + 1,
      stream: `vm-${vm}`,
      version: n + 1,
      id: `event-${n}`,
      type,
      schema: 1,
      data: JSON.parse(JSON.stringify(data)),
      cause: {
        correlationId: 'cor',
        causes: [],
        caller: 'principals/user',
        ...(traceId === undefined ? {} : { traceparent: `00-${traceId}-${'1'.repeat(16)}-01` }),
      },
      time: at + n * 1_000,
    })),
  );

const loss = { ...lossOf('des', 6), disk: disk('os', 0, 'PREMIUM_SSD').disk, traceId: traces.loss };
const created = running([disk('os', 0, 'PREMIUM_SSD', 'des')]);
const lost: readonly VmEvent[] = [
  { type: 'VmStopping', work: work('keyStop', 'k'), reason: loss, blocked: [], at },
  { type: 'VmStopped', reason: loss, at },
];
const back: VmEvent = { type: 'KeyAccessReturned', set: setOf('des'), keyVersion: version1, at };

test('VM-43: an activity log row has the trace of its operation, of its access loss, or of the restored access', () => {
  const rows = logOf([
    ...created.map((event) => [event, traces.create] as const),
    ...lost.map((event) => [event, traces.stop] as const),
    [back, traces.back],
  ]);
  assert.deepEqual(rows, [
    ['STARTED', traces.create],
    ['ACCEPTED', traces.create],
    ['SUCCEEDED', traces.create],
    ['ACTIVE', traces.loss],
    ['SUCCEEDED', traces.loss],
    ['RESOLVED', traces.back],
  ]);
});

test('VM-43: each stop by the platform has a row for its decision and one for its end', () => {
  const started: readonly VmEvent[] = [
    { type: 'VmStarting', work: work('start', 's'), from: 'stopped', at },
    { type: 'VmStarted', at },
  ];
  const ended: readonly VmEvent[] = [
    { type: 'VmStopping', work: work('guestEnded', 'e'), end: 'HOST_RESTARTED', at },
    { type: 'VmStopped', at },
  ];
  const all = [...created, ...lost, ...started, ...lost, ...started, ...ended];
  const rows = entriesOf(all.map((event) => [event, undefined] as const)).filter(
    ({ category, status }) => category === 'RESOURCE_HEALTH' && status !== 'RESOLVED',
  );
  const timeOf = (type: VmEvent['type']) => all.flatMap((event, n) => (event.type === type ? [at + n * 1_000] : []));
  const shown = (wanted: string) =>
    rows.filter(({ status }) => status === wanted).map(({ eventTime }) => eventTime?.getTime());
  assert.deepEqual(shown('ACTIVE'), timeOf('VmStopping'));
  assert.deepEqual(shown('SUCCEEDED'), timeOf('VmStopped'));
  assert.deepEqual(
    rows.map(({ operationId, properties }) => [operationId, properties.availability, properties.cause]),
    ['KEY_DISABLED', 'KEY_DISABLED', 'HOST_RESTARTED'].flatMap((cause) =>
      [0, 1].map(() => [cause === 'HOST_RESTARTED' ? 'e' : 'k', 'Unavailable', cause]),
    ),
  );
});

test('an access loss without a trace is logged with the trace of the stop; an untraced operation has no trace', () => {
  const untraced: VmEvent = {
    type: 'VmStopping',
    work: work('keyStop', 'k'),
    reason: { ...loss, traceId: '' },
    blocked: [],
    at,
  };
  const rows = logOf([...created.map((event) => [event, undefined] as const), [untraced, traces.stop]]);
  assert.deepEqual(rows, [
    ['STARTED', undefined],
    ['ACCEPTED', undefined],
    ['SUCCEEDED', undefined],
    ['ACTIVE', traces.stop],
  ]);
});
