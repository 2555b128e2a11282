import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFindings } from '@interlock/lab/judge/findings';
import { seededRandom } from '@interlock/runtime';
import { simulatedSettings } from '../cloud/deployment.ts';
import { openDiskHosts } from '../cloud/disk-hosts.ts';
import { replicaOfHost } from '../cloud/parts.ts';
import { OutageJudge } from './outages.ts';

const outage = {
  ...{ reason: 'KEY_VAULT_UNREACHABLE', disk: 'd', set: 's', keyVersion: 'k', host: 'diskHosts/disk-1' },
  ...{ since: 1, traceId: '', accessEpoch: 0 },
};

/** A machine that the outage of `disk-1` stopped at 100 s, judged at 150 s. */
const judging = (startedMs = 0) => {
  let nowMs = 100_000;
  const log = openFindings(() => nowMs);
  const world = {
    ...{ settings: simulatedSettings, diskHosts: openDiskHosts(2, seededRandom(1)) },
    clock: { monotonicMs: () => nowMs },
  };
  const judge = new OutageJudge({ world, log, disturbances: { hostStartedMs: () => startedMs } });
  const onEvent = (
    type: string,
    data: object,
    causes: readonly { readonly id: string; readonly kind: 'message' }[] = [],
    stream: `${string}-${string}` = 'vm-vm',
  ) =>
    judge.onEvent({
      ...{ position: 1, stream, version: 1, id: `${stream}@1`, type, schema: 1, data: { ...data }, time: 1 },
      cause: { correlationId: 'c', causes: [...causes], caller: 'system:compute' },
    });
  onEvent('VmStopping', { reason: outage });
  nowMs = 150_000;
  const respond = (host: number, refusal?: number): void =>
    judge.onResponse({
      service: 'key-vault',
      caller: replicaOfHost(host),
      ...(refusal === undefined ? {} : { refusal }),
    });
  const returned = (host?: string, causes?: Parameters<typeof onEvent>[2]): void =>
    onEvent('KeyAccessReturned', { set: 's', keyVersion: 'k', ...(host === undefined ? {} : { host }) }, causes);
  const moved = (disk: string): void => onEvent('VolumeMoved', { host: 'disk-0', volumeId: 'v' }, [], `disk-${disk}`);
  return { log, respond, returned, moved };
};

test('G3: the outage of one disk host does not end because the vault responds to another', () => {
  for (const host of [undefined, 'diskHosts/disk-1']) {
    const { log, respond, returned } = judging();
    respond(0);
    returned(host);
    assert.equal(log.violation?.guarantee, 'G3');
  }
});

test('G3: a call to the vault without a response does not end an outage', () => {
  const { log, respond, returned } = judging();
  respond(1, 14);
  returned();
  assert.equal(log.violation?.guarantee, 'G3');
});

test('G3: an outage ends when the vault responds to its host, when a set publishes that access is restored, and with its process', () => {
  const responded = judging();
  responded.respond(1);
  responded.returned();
  assert.equal(responded.log.violation, undefined);
  const published = judging();
  published.returned(undefined, [{ id: 'set-s@3', kind: 'message' }]);
  assert.equal(published.log.violation, undefined);
  const restarted = judging(120_000);
  restarted.returned();
  assert.equal(restarted.log.violation, undefined);
  const ofAnother = judging();
  ofAnother.returned('diskHosts/disk-0');
  assert.equal(ofAnother.log.violation, undefined);
});

test('G3: the outage of a host that its disk has left blocks a machine no more; that of another disk does', () => {
  const left = judging();
  left.moved('d');
  left.returned();
  assert.equal(left.log.violation, undefined);
  const other = judging();
  other.moved('another');
  other.returned();
  assert.equal(other.log.violation?.guarantee, 'G3');
});
