import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import type { KeyLoss } from '../../../services/compute/src/vm/machine.ts';
import { simulatedSettings } from '../cloud/deployment.ts';
import type { KnownDisk } from '../oracle/disks.ts';
import type { KnownMachine } from '../oracle/machines.ts';
import { openTrial } from '../runs/history-log.ts';
import { boundsOf } from './bounds.ts';
import { machineJudge } from './machines.ts';

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
  cause: { correlationId: 'c', causationId: 'c', caller: 'somebody', traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  time: 1,
});

/** A judge of one machine `vm`, with one disk of the set `s` under the version, which was lost a moment ago for want of a grant. */
const judging = () => {
  const disk: KnownDisk = {
    name: 'd',
    isSnapshot: false,
    sku: 'premium_ssd',
    set: 's',
    volumeId: 'v',
    attachedTo: 'vm',
    open: undefined,
    closed: undefined,
    movedAtMs: 0,
    isDeleting: false,
    isChanging: false,
  };
  const machine: KnownMachine = {
    name: 'vm',
    power: 'running',
    askedMs: 0,
    isStoppedByKey: false,
    disks: new Map([
      ['d', { disk: 'd', sku: 'PREMIUM_SSD', isOs: true, lun: 0, phase: 'attached', accessEpoch: 1, askedMs: 0 }],
    ]),
  };
  const log = openTrial(() => 100_000);
  const judge = machineJudge({
    log,
    bounds: boundsOf(simulatedSettings),
    world: { settings: simulatedSettings, guests: { guests: new Map<string, []>() } },
    troubles: { lastMs: () => undefined, lastAnyMs: () => undefined, startedMs: () => 0 },
    truth: {
      nowMs: () => 100_000,
      machines: { machines: new Map([['vm', machine]]) },
      disks: { disks: new Map([['d', disk]]), keyVersionOf: () => keyVersion },
      losses: { losses: () => [{ fromMs: 99_000, untilMs: undefined, reasons: new Set(['ACCESS_DENIED']) }] },
      standing: () => [],
      boundMs: () => undefined,
    },
  });
  return { judge, log, machine };
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

test('judge of machines, G10: a stop names the trace of what took access away', () => {
  const { judge, log } = judging();
  judge.onEvent(recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(log.violation?.guarantee, 'G10');
  const known = judging();
  known.judge.onCause('key-vault', recorded('vault-kv', 'AccessPolicySet'));
  known.judge.onEvent(recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(known.log.violation, undefined);
});

test('judge of machines: in a vault that was made again nobody was ever granted anything, so a refusal there has no cause to name', () => {
  const { judge, log } = judging();
  judge.onCause('compute', recorded('vault-kv', 'VaultCreated'));
  judge.onEvent(recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(log.violation, undefined);
  // Of another vault that says nothing, and another loss of the key has a cause all the same.
  const other = judging();
  other.judge.onCause('compute', recorded('vault-kv2', 'VaultCreated'));
  other.judge.onEvent(recorded('vm-vm', 'VmStopping', { reason: stop }));
  assert.equal(other.log.violation?.guarantee, 'G10');
  const disabled = judging();
  disabled.judge.onCause('compute', recorded('vault-kv', 'VaultCreated'));
  disabled.judge.onEvent(recorded('vm-vm', 'VmStopping', { reason: { ...stop, reason: 'KEY_DISABLED' } }));
  assert.equal(disabled.log.violation?.guarantee, 'G10');
});

test('judge of machines: what is foreseen are machines that run or come up with a non-ultra disk under the version', () => {
  const { judge, machine } = judging();
  assert.deepEqual(judge.foreseen(keyVersion)?.stops, new Set(['vm']));
  assert.deepEqual(judge.foreseen('vaults/kv/keys/k/versions/2')?.stops, new Set());
  machine.power = 'deallocated';
  assert.deepEqual(judge.foreseen(keyVersion)?.stops, new Set());
  for (const power of ['stopping', 'deallocating', 'creating'] as const) {
    machine.power = power;
    assert.equal(judge.foreseen(keyVersion), undefined, `${power} may end either way`);
  }
});

test('judge of machines: moved since are those something was stored of, there and back too', () => {
  const { judge } = judging();
  judge.onEvent(recorded('vm-early', 'VmStarting'));
  const before = judge.foreseen(keyVersion);
  assert.ok(before);
  assert.deepEqual(judge.movedSince(before), new Set());
  judge.onEvent(recorded('vm-vm', 'VmStopping'));
  judge.onEvent(recorded('vm-vm', 'VmStarted'));
  assert.deepEqual(judge.movedSince(before), new Set(['vm']));
});
