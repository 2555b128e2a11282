import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { PartProcess } from '@interlock/local/control/cloud-control.ts';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { outputOf } from '../output/output.ts';
import { services } from '../session/environment.ts';
import { sleepingClock } from '../session/test-session.ts';
import type { GatewayStatus } from './gateway-status.ts';
import { showStatus } from './status.ts';

const consumers = [
  { name: 'consumers/key-vault-0', gap: '2', lagMs: '40', parkedCount: 1 },
  { name: 'consumers/key-vault-1', gap: '0', lagMs: '90', parkedCount: 0 },
];
const telling = { position: '7', gap: '0', problem: '' };

const replica = (name: string, state = 'WORKING', also: JsonObject = {}): JsonObject => ({
  name: `replicas/${name}`,
  state,
  ...also,
});

/** Shows the status with these relays; every service has the same consumers. */
const ask = async (
  relays: Partial<Record<Workload, JsonObject | Error>>,
  isJson = false,
  held: JsonObject = {},
  replicas: Partial<Record<Workload, JsonObject[]>> = {},
  gateway?: GatewayStatus,
  diskHosts: JsonObject[] | Rejection = [],
  processes: readonly PartProcess[] = [],
  vmHosts: JsonObject[] = [],
) => {
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const nothing = () => assert.fail('only lines are written');
  const isWell = await showStatus(
    {
      caller: {
        call: async (service, { path }) => {
          if (path.endsWith('/GetHold')) return held;
          if (path.endsWith('/ListDiskHosts')) {
            if (diskHosts instanceof Rejection) throw diskHosts;
            return { diskHosts };
          }
          if (path.endsWith('/ListVmHosts')) return { vmHosts };
          if (path.endsWith('/ListReplicas')) return { replicas: replicas[service] ?? [replica(service)] };
          if (!path.endsWith('/GetRelay')) return { consumers };
          const relay = relays[service] ?? telling;
          if (relay instanceof Error) throw relay;
          return relay;
        },
      },
      clock: sleepingClock(),
      terminal: {
        out: say,
        err: nothing,
        screen: nothing,
        outBytes: nothing,
        in: nothing,
        readFile: nothing,
        writeFile: nothing,
        newFile: (path: string) => ({ path, write: nothing, discard: nothing }),
      },
      output: await outputOf({ json: isJson }, { out: say }),
    },
    { gateway, processes },
  );
  return { isWell, text: lines.join('\n') };
};

test('a serving service is shown with its consumer gap, lag and parked facts', async () => {
  const { isWell, text } = await ask({});
  assert.equal(isWell, true);
  assert.match(text, /^disk +serving +0 ms +2 +90 ms +1 +1$/m);
});

test('the gateway of a local cloud is shown if one was started, and an unreachable one is a problem', async () => {
  const url = 'https://localhost:8443';
  const serving = await ask({}, false, {}, {}, { url, state: 'serving', answerMs: 3, problem: '' });
  assert.equal(serving.isWell, true);
  assert.match(serving.text, /^gateway +serving +3 ms$/m);
  const gone = await ask({}, false, {}, {}, { url, state: 'unreachable', answerMs: 1, problem: 'ECONNREFUSED' });
  assert.equal(gone.isWell, false);
  assert.match(gone.text, /^gateway +unreachable +ECONNREFUSED$/m);
  assert.doesNotMatch((await ask({})).text, /gateway/);
});

test('VM hosts are shown below compute; one that does not respond is a problem, one that is lost is not', async () => {
  const host = (name: string, liveness: string, state = 'OPEN', machineCount = 3): JsonObject => ({
    ...{ name: `vmHosts/${name}`, liveness, state, machineCount },
  });
  const withHosts = (...hosts: JsonObject[]) => ask({}, false, {}, {}, undefined, [], [], hosts);
  const one = await withHosts(host('vm-host-0', 'SERVING'));
  assert.equal(one.isWell, true);
  assert.match(one.text, /^compute +serving .*\n {2}vm-host-0 +serving, 3 machines$/m);
  assert.match((await withHosts(host('vm-host-0', 'SERVING', 'OPEN', 1))).text, /vm-host-0 +serving, 1 machine$/m);
  const away = await withHosts(host('vm-host-0', 'SERVING'), host('vm-host-1', 'UNREACHABLE'));
  assert.equal(away.isWell, false);
  assert.match(away.text, /^compute +degraded .*\n.*\n {2}vm-host-1 +unreachable, 3 machines$/m);
  const lost = await withHosts(host('vm-host-0', 'SERVING'), host('vm-host-1', 'UNREACHABLE', 'LOST'));
  assert.equal(lost.isWell, true);
});

test('several disk hosts are shown below disk; one that does not respond is a problem, one that is lost is not', async () => {
  const host = (name: string, liveness: string, state = 'OPEN'): JsonObject => ({
    ...{ name: `diskHosts/${name}`, liveness, state },
    diskCount: '3',
  });
  const withHosts = (...hosts: JsonObject[]) => ask({}, false, {}, {}, undefined, hosts);
  const both = await withHosts(host('disk-0', 'SERVING'), host('disk-1', 'SERVING'));
  assert.equal(both.isWell, true);
  assert.match(both.text, /^disk +serving .*\n {2}disk-0 +serving, 3 disks\n {2}disk-1 +serving, 3 disks$/m);
  const away = await withHosts(host('disk-0', 'SERVING'), host('disk-1', 'UNREACHABLE'));
  assert.equal(away.isWell, false);
  assert.match(away.text, /^disk +degraded .*\n.*\n {2}disk-1 +unreachable, 3 disks$/m);
  const lost = await withHosts(host('disk-0', 'SERVING'), host('disk-1', 'UNREACHABLE', 'LOST'));
  assert.equal(lost.isWell, true);
  assert.doesNotMatch((await withHosts(host('disk-0', 'SERVING'))).text, /disk-0/);
  const process = { part: 'disk-host-0', name: 'disk-host-0', pid: 4711, state: 'running' } as const;
  const local = await ask(
    {},
    false,
    {},
    {},
    undefined,
    [host('disk-0', 'SERVING'), host('disk-1', 'SERVING')],
    [process],
  );
  assert.match(local.text, /^ {2}disk-0 +serving, 3 disks, process 4711\n {2}disk-1 +serving, 3 disks$/m);
  const refused = new Rejection('PERMISSION_DENIED', 'PERMISSION_DENIED', 'no');
  assert.equal((await ask({}, false, {}, {}, undefined, refused)).isWell, true);
});

test('a service that cannot publish is shown as silent with the reason, and the cloud is not well', async () => {
  const silent = { position: '7', gap: '3', failingSince: '2026-01-01T00:00:00Z', problem: 'no room for stream X' };
  const { isWell, text } = await ask({ 'key-vault': silent });
  assert.equal(isWell, false);
  assert.match(text, /^key-vault +silent +has published nothing since 2026-01-01T00:00:00Z: no room for stream X$/m);
  assert.match(text, /^identity +serving/m);
  const { services } = JSON.parse((await ask({ 'key-vault': silent }, true)).text);
  assert.deepEqual([services[1].service, services[1].state, services[1].unpublished], ['key-vault', 'silent', 3]);
});

test('status shows which services cannot reach Postgres and NATS', async () => {
  const calm = await ask({});
  assert.match(calm.text, /^postgres +serving$/m);
  assert.match(calm.text, /^nats +serving$/m);
  const gone = new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'the event store cannot be reached');
  const silent = { position: '7', gap: '3', failingSince: '2026-01-01T00:00:00Z', problem: 'timeout', failing: 'BUS' };
  const relays = { disk: gone, compute: gone, 'key-vault': silent };
  const { isWell, text } = await ask(relays);
  assert.equal(isWell, false);
  assert.match(text, /^disk +no store +cannot reach Postgres$/m);
  assert.match(text, /^postgres +failing +disk, compute cannot reach it$/m);
  assert.match(text, /^nats +failing +key-vault cannot publish to it$/m);
  assert.deepEqual(JSON.parse((await ask(relays, true)).text).servers, [
    { server: 'postgres', state: 'failing', services: ['disk', 'compute'], shortages: [] },
    { server: 'nats', state: 'failing', services: ['key-vault'], shortages: [] },
  ]);
  const full = new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'no space left', { store: 'FULL' });
  assert.match((await ask({ disk: full })).text, /^disk +no store +Postgres has no space left$/m);
  // A deadline that the store caused, and a token that identity could not issue.
  const late = new RpcFailure('DEADLINE_EXCEEDED', 'm', 'p', 'no answer before the deadline', { cause: gone });
  assert.match((await ask({ disk: late })).text, /^disk +no store +cannot reach Postgres$/m);
  const { code, reason } = gone;
  const noToken = new Rejection(code, reason, 'identity gave no token: no store', { token_issuer: 'identity' });
  const tokens = await ask({ identity: noToken, disk: noToken });
  assert.match(tokens.text, /^disk +not called +identity issues no token for the call$/m);
  assert.match(tokens.text, /^postgres +failing +identity cannot reach it$/m);
  const unissued = new RpcFailure('UNAVAILABLE', 'interlock.identity.v1.IdentityService/IssueToken', 'p', 'refused');
  const alone = (await ask({ identity: unissued, disk: unissued })).text;
  assert.match(alone, /^identity +unreachable +.*IssueToken/m);
  assert.match(alone, /^disk +not called +/m);
  // A relay also fails without its store, which says nothing about NATS.
  const stuck = await ask(Object.fromEntries(services.map((service) => [service, { ...silent, failing: 'STORE' }])));
  assert.match(stuck.text, /^postgres +failing +identity, .*compute cannot reach it$/m);
  assert.match(stuck.text, /^nats +unknown +no service reports its state$/m);
  const mute = await ask(Object.fromEntries(services.map((service) => [service, silent])));
  assert.match(mute.text, /^postgres +serving$/m);
  const down = new RpcFailure('UNAVAILABLE', 'm', 'p', 'connect ECONNREFUSED');
  const all = Object.fromEntries(services.map((service) => [service, down]));
  assert.match((await ask(all)).text, /^postgres +unknown +no service reports its state$/m);
});

test('a key-vault on hold shows since when and why', async () => {
  const hold = { holdId: 'a1b2c3d4', startTime: '2026-01-01T00:00:00Z', reason: 'STORE_WENT_BACK' };
  const { isWell, text } = await ask({}, false, { hold });
  assert.equal(isWell, false);
  assert.match(text, /^key-vault +on hold +no key may be used since 2026-01-01T00:00:00Z: STORE_WENT_BACK/m);
  assert.match(text, /^disk +serving/m);
});

test('each replica is shown; one that is gone is named, and the cloud is not well', async () => {
  const replicas = {
    compute: [replica('compute'), replica('compute-1', 'GONE', { goneTime: '2026-01-01T00:00:00Z' })],
    disk: [replica('disk'), replica('disk-1')],
  };
  const { isWell, text } = await ask({}, false, {}, replicas);
  assert.equal(isWell, false);
  assert.match(text, /^compute +degraded +0 ms .* 1 of 2$/m);
  assert.match(text, /^ {2}compute +working$/m);
  assert.match(text, /^ {2}compute-1 +gone since 2026-01-01T00:00:00Z/m);
  assert.match(text, /^disk +serving +0 ms .* 2$/m);
  assert.match(text, /^ {2}disk-1 +working$/m);
  assert.equal((await ask({}, false, {}, { disk: replicas.disk })).isWell, true);
  const { services } = JSON.parse((await ask({}, true, {}, replicas)).text);
  const compute = services.find(({ service }: { service: string }) => service === 'compute');
  assert.equal(compute.state, 'degraded');
  assert.equal(compute.problem, 'compute-1 is gone since 2026-01-01T00:00:00Z');
  assert.deepEqual(compute.replicas[1], { name: 'compute-1', state: 'gone', since: '2026-01-01T00:00:00Z' });
});

test('a replica whose folder is not that of the host is shown as not ready, with the reason', async () => {
  const replicas = { compute: [replica('compute-0'), replica('compute-1-1a2b3c4d', 'OTHER_HOST_FOLDER')] };
  const { isWell, text } = await ask({}, false, {}, replicas);
  assert.equal(isWell, false);
  assert.match(text, /^compute +degraded +0 ms .* 1 of 2$/m);
  assert.match(text, /^ {2}compute-1-1a2b3c4d +not ready: OTHER_HOST_FOLDER, its folder is not that of the host$/m);
});

test('a caller without any right is refused once; among other states the missing right is shown', async () => {
  const denied = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'Caller is not authorized to perform action', {
    action: 'platform/messaging/read',
    scope: '/',
  });
  const all = Object.fromEntries(services.map((service) => [service, denied]));
  for (const isJson of [false, true]) await assert.rejects(ask(all, isJson), denied);
  const gone = new RpcFailure('UNAVAILABLE', 'GetRelay', 'disk', 'no connection');
  const { isWell, text } = await ask({ ...all, disk: gone });
  assert.equal(isWell, false);
  assert.match(text, /^disk +unreachable/m);
  assert.match(text, /^compute +refusing +the caller lacks platform\/messaging\/read$/m);
});

test('a stream with too few copies, or that does not exist, makes NATS degraded, and the cloud is not well', async () => {
  const telling = { position: '7', gap: '0' };
  const { isWell, text } = await ask({
    disk: { ...telling, streamCopies: 1, streamCopiesWanted: 3 },
    compute: { ...telling, streamCopiesWanted: 3, streamProblem: 'NATS has no stream interlock_compute; an operator' },
    identity: { ...telling, streamCopies: 3, streamCopiesWanted: 3 },
  });
  assert.equal(isWell, false);
  assert.match(
    text,
    /^nats +degraded +the stream of disk has 1 of 3 copies; NATS has no stream interlock_compute; an operator$/m,
  );
  assert.match(text, /^disk +serving/m);
});
