import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import type { KeyLoss } from '../events/compute.ts';
import { openFindings } from '../findings.ts';
import type { KnownDisk } from '../model/disks.ts';
import type { KnownMachine } from '../model/machines.ts';
import { boundsOf } from './bounds.ts';
import { StopForecast } from './forecast.ts';
import { MachineJudge } from './machines.ts';
import { testTerms } from './test-terms.ts';

const keyVersion = 'vaults/kv/keys/k/versions/1';
const traceId = '0af7651916cd43dd8448eb211c80319c';

const recorded = (stream: RecordedEvent['stream'], type: string, data: object = {}): RecordedEvent => ({
  position: 1,
  stream,
  version: 1,
  id: 'e',
  type,
  schema: 1,
  data: { ...data },
  cause: {
    correlationId: 'c',
    causes: [],
    caller: 'principals/p',
    traceparent: `00-${traceId}-b7ad6b7169203331-01`,
  },
  time: 1,
});

const blocker = { reason: 'ACCESS_DENIED', sinceMs: 99_000, owner: 'key-vault' } as const;

/** @returns when a host was last disturbed */
type Disturbed = (host: string) => number | undefined;

/**
 * A judge of one machine `vm` with one disk of the set `s`. The set has just lost the version, because its grant is missing. Another
 * machine has the disk `other` of that set at another host.
 * @param lostMs since when the disk is blocked; absent: it is not, as far as the judge of guests is concerned
 */
const judging = (boundMs?: number, lostMs?: number, lastOfHostMs: Disturbed = () => undefined) => {
  const disk: KnownDisk = {
    name: 'd',
    isSnapshot: false,
    sku: 'premium_ssd',
    host: 'disk-0',
    set: 's',
    keyVersion,
    volumeId: 'v',
    elsewhere: new Set<string>(),
    attachedTo: 'vm',
    open: undefined,
    closed: undefined,
    movedAtMs: 0,
    isDeleting: false,
    isChanging: false,
  };
  const other: KnownDisk = { ...disk, name: 'other', host: 'disk-1', attachedTo: 'another vm' };
  const machine: KnownMachine = {
    name: 'vm',
    power: 'running',
    requestedMs: 0,
    isStoppedByKey: false,
    disks: new Map([
      ['d', { disk: 'd', sku: 'PREMIUM_SSD', isOs: true, lun: 0, phase: 'attached', accessEpoch: 1, requestedMs: 0 }],
    ]),
  };
  const log = openFindings(() => 100_000);
  const truth = {
    nowMs: () => 100_000,
    machines: { machines: new Map([['vm', machine]]) },
    disks: {
      disks: new Map([
        ['d', disk],
        ['other', other],
      ]),
      keyVersionOf: () => keyVersion,
      hostOf: () => 'disk-0',
    },
    losses: {
      losses: () => [
        {
          ...{ fromMs: 99_000, untilMs: undefined, first: blocker },
          ...{ reasons: new Set(['ACCESS_DENIED'] as const), traces: new Set([traceId]) },
        },
      ],
    },
    blockers: () => (lostMs === undefined ? [] : [{ ...blocker, sinceMs: lostMs }]),
    boundMs: () => boundMs,
  };
  const disturbances = {
    // With a bound, the host of the disk does not respond.
    lastMs: (parts: Iterable<string>) =>
      boundMs !== undefined && [...parts].includes('diskHosts/disk-0') ? 100_000 : undefined,
    lastAnyMs: () => undefined,
    lastOfHostMs,
    hostStartedMs: () => 0,
  };
  const bounds = boundsOf(testTerms);
  const judge = new MachineJudge({ log, bounds, guests: () => [['vm', [{ disk: 'd' }]]], disturbances, truth });
  return { judge, log, machine, other, forecast: new StopForecast({ truth, disturbances, bounds }) };
};

const stop: KeyLoss = {
  reason: 'ACCESS_DENIED',
  disk: 'd',
  set: 's',
  keyVersion,
  since: 99_000,
  traceId,
  accessEpoch: 2,
};

test('judge of machines, G10: a stop must name the trace that took access away', () => {
  const { judge, log } = judging();
  judge.onEvent('compute', recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(log.violation?.guarantee, 'G10');
  const known = judging();
  known.judge.onEvent('key-vault', recorded('vault-kv', 'AccessPolicySet'));
  known.judge.onEvent('compute', recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(known.log.violation, undefined);
});

test('judge of machines, G2: a disk host that does not respond delays a stop by the time of one lease at most', () => {
  const { hostAwayMs, stopMs } = boundsOf(testTerms);
  const due = judging(100_000 - hostAwayMs - stopMs - 1);
  due.judge.checkGuests(false);
  assert.equal(due.log.violation?.guarantee, 'G2');
  const early = judging(100_000 - hostAwayMs - stopMs + 1);
  early.judge.checkGuests(false);
  assert.equal(early.log.violation, undefined);
});

test('judge of machines, G2: while events arrive, a machine that starts waits only for the hosts of its sets', () => {
  const { promptMs } = boundsOf(testTerms);
  const judged = (power: 'running' | 'starting', disturbed: string, set = 's') => {
    const { judge, log, machine, other } = judging(200_000, 100_000 - promptMs - 1, (host) =>
      host === disturbed ? 100_000 : undefined,
    );
    machine.power = power;
    other.set = set;
    judge.checkGuests(false);
    return log.violation?.guarantee;
  };
  assert.equal(judged('running', 'none'), 'G2');
  assert.equal(judged('running', 'disk-0'), undefined, 'its own host');
  assert.equal(judged('running', 'disk-1'), 'G2', 'a running machine does not wait for another host');
  assert.equal(judged('starting', 'none'), 'G2');
  assert.equal(judged('starting', 'disk-1'), undefined, 'a disk of its set is opened in the same call');
  assert.equal(judged('starting', 'disk-1', 'another set'), 'G2');
});

test('judge of machines, G2: a loss at the very start is prompt too, unless a host was disturbed just before', () => {
  for (const [disturbedMs, expected] of [
    [undefined, 'G2'],
    [0, undefined],
  ] as const) {
    const { judge, log } = judging(200_000, 5_000, () => disturbedMs);
    judge.checkGuests(false);
    assert.equal(log.violation?.guarantee, expected);
  }
});

test('judge of machines: a refusal of a recreated vault has no cause to name, because nothing was granted there', () => {
  const { judge, log } = judging();
  judge.onEvent('compute', recorded('vault-kv', 'VaultCreated'));
  judge.onEvent('compute', recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(log.violation, undefined);
  // That does not apply to another vault, and another loss of the key still has a cause.
  const other = judging();
  other.judge.onEvent('compute', recorded('vault-kv2', 'VaultCreated'));
  other.judge.onEvent('compute', recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(other.log.violation?.guarantee, 'G10');
  const disabled = judging();
  disabled.judge.onEvent('compute', recorded('vault-kv', 'VaultCreated'));
  disabled.judge.onEvent('compute', recorded('vm-vm', 'VmStopping', { reason: { ...stop, reason: 'KEY_DISABLED' } }));
  assert.equal(disabled.log.violation?.guarantee, 'G10');
});

test('forecast: a loss stops machines that run or start with a non-ultra disk under the version', () => {
  const { forecast, machine } = judging();
  assert.deepEqual(forecast.of(keyVersion)?.stops, new Set(['vm']));
  assert.deepEqual(forecast.of('vaults/kv/keys/k/versions/2')?.stops, new Set());
  machine.power = 'deallocated';
  assert.deepEqual(forecast.of(keyVersion)?.stops, new Set());
  for (const power of ['stopping', 'deallocating', 'creating'] as const) {
    machine.power = power;
    assert.equal(forecast.of(keyVersion), undefined, `a machine that is ${power} may end either way`);
  }
});

test('forecast: a machine with any event since the forecast counts as moved', () => {
  const { forecast } = judging();
  forecast.noteMove('vm-early');
  const before = forecast.of(keyVersion);
  assert.ok(before);
  assert.deepEqual(forecast.movedSince(before), new Set());
  forecast.noteMove('vm-vm');
  forecast.noteMove('vm-vm');
  assert.deepEqual(forecast.movedSince(before), new Set(['vm']));
});
