import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { openFindings } from '@interlock/lab/judge/findings';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import type { KnownMachine } from '@interlock/lab/judge/model/machines';
import { virtualClock } from '@interlock/runtime';
import type { GuestPlan } from '../../../services/compute/src/guests/vm-host.ts';
import { openGuests } from '../cloud/vm-hosts.ts';
import { type GuestIo, guestsWithAccess, VmHostJudge } from './vm-hosts.ts';

const guestDisk = { disk: 'd', accessToken: '3.secret' } as GuestPlan['disks'][number];

/** A judge of two VM hosts and the machine `m`; time is set by the test. */
const judging = () => {
  let nowMs = 0;
  const log = openFindings(() => nowMs);
  const { guests, vmHosts } = openGuests(virtualClock(), 2);
  const disks = new Map([['d', { disk: 'd', phase: 'attached' }]]);
  const machine = { name: 'm', power: 'running', disks } as unknown as KnownMachine;
  const disk = { name: 'd', open: { by: 'machine', attachEpoch: 3 } } as KnownDisk;
  const truth = {
    nowMs: () => nowMs,
    disks: { disks: new Map([['d', disk]]) },
    machines: { machines: new Map([['m', machine]]) },
  } as unknown as ConstructorParameters<typeof VmHostJudge>[0]['truth'];
  const world = { guests, vmHosts };
  const judge = new VmHostJudge({ world, truth, log });
  return {
    ...{ log, judge, machine, disk, vmHosts, world, truth },
    at(ms: number): void {
      nowMs = ms;
    },
    event: (stream: string, type: string, data: object = {}): void =>
      judge.onEvent({ stream, type, data } as unknown as RecordedEvent),
    /** Starts a guest of the machine at a host. @returns its run */
    async start(host: number): Promise<number> {
      await vmHosts[host]?.driver.start('m', { disks: [guestDisk] } as unknown as GuestPlan);
      return vmHosts[host]?.driver.runs.get('m') ?? 0;
    },
    io: (run: number, invokedMs: number, kind: GuestIo['kind'] = 'write'): void =>
      judge.onIo({ kind, disk: 'd', by: 'machine', who: 'm', run, invokedMs, outcome: { kind: 'ok', text: '' } }),
  };
};

test('G2: a guest does no I/O after its machine was recorded off, also once a later guest runs', async () => {
  const held = judging();
  held.event('vm-m', 'VmPlaced', { host: 'vmHosts/vm-host-0' });
  const found = (): string | undefined => held.log.violation?.guarantee;
  const run = await held.start(0);
  held.at(1_000);
  held.io(run, 900);
  held.machine.power = 'stopped';
  held.event('vm-m', 'VmStopped');
  held.io(run, 1_000, 'read');
  assert.equal(found(), undefined, 'what was invoked before may complete');
  held.machine.power = 'running';
  held.at(2_000);
  held.io(await held.start(1), 1_500);
  assert.equal(found(), undefined, 'the later guest may write');
  held.io(run, 1_800, 'read');
  assert.equal(found(), 'G2');
});

test('G2: of two guests of one machine only the later one writes', async () => {
  const held = judging();
  held.event('vm-m', 'VmPlaced', { host: 'vmHosts/vm-host-0' });
  const found = (): string | undefined => held.log.violation?.guarantee;
  const [first, second] = [await held.start(0), await held.start(1)];
  held.io(first, 10);
  held.at(20);
  held.io(second, 15);
  held.io(first, 20);
  assert.equal(found(), undefined, 'a write that was invoked before may complete');
  held.io(first, 21);
  assert.equal(found(), 'G2');
});

test('G2: in the end each machine has the guest that its record names, and no other exists', async () => {
  const placed = async () => {
    const held = judging();
    held.event('vm-m', 'VmPlaced', { host: 'vmHosts/vm-host-1' });
    await held.start(1);
    return held;
  };
  const right = await placed();
  right.judge.checkSettled(right.log);
  assert.equal(right.log.violation, undefined);
  const wrongs: readonly ((held: Awaited<ReturnType<typeof placed>>) => unknown)[] = [
    (held) => held.start(0),
    (held) => held.vmHosts[1]?.driver.restartHost(),
    (held) => Object.assign(held.machine, { power: 'stopped' }),
    (held) => held.event('vmhost-vm-host-1', 'VmHostLost'),
  ];
  for (const [place, make] of wrongs.entries()) {
    const held = await placed();
    await make(held);
    held.judge.checkSettled(held.log);
    assert.equal(held.log.violation?.guarantee, 'G2', `wrong ${place}`);
  }
});

test('G5: in the end a guest has the disks that its record has', async () => {
  const found = async (...disks: readonly (readonly [string, string])[]) => {
    const held = judging();
    held.event('vm-m', 'VmPlaced', { host: 'vmHosts/vm-host-1' });
    await held.start(1);
    held.machine.disks.clear();
    for (const [disk, phase] of disks) held.machine.disks.set(disk, { disk, phase } as never);
    held.judge.checkSettled(held.log);
    return held.log.violation?.guarantee;
  };
  assert.equal(await found(['d', 'attached']), undefined);
  assert.equal(await found(), 'G5', 'the disk is detached');
  assert.equal(await found(['d', 'attached'], ['e', 'attached']), 'G5', 'another disk is attached');
  assert.equal(await found(['d', 'attached'], ['e', 'attaching']), undefined, 'work is under way');
});

test('G3: a machine is stopped because of its host only for what happened to that host', () => {
  const stop = (end: string, happened?: string) => {
    const held = judging();
    held.event('vm-m', 'VmPlaced', { host: 'vmHosts/vm-host-0' });
    if (happened === 'machine lost') held.vmHosts[0]?.loseMachine(true);
    else if (happened !== undefined) held.event('vmhost-vm-host-0', happened);
    held.event('vm-m', 'VmStopping', { end });
    return held.log.violation?.guarantee;
  };
  assert.equal(stop('HOST_LOST', 'VmHostLost'), undefined);
  assert.equal(stop('HOST_DRAINED', 'VmHostDraining'), undefined);
  assert.equal(stop('HOST_RESTARTED', 'machine lost'), undefined);
  for (const end of ['HOST_LOST', 'HOST_DRAINED', 'HOST_RESTARTED', 'GUEST_ENDED']) assert.equal(stop(end), 'G3', end);
});

test('G2: a host that stores an outdated or stopped placement again is found', () => {
  const put = (...placements: readonly (readonly [number, boolean])[]) => {
    const held = judging();
    for (const [number, isStopped] of placements)
      held.vmHosts[0]?.files.put({ vm: 'm', machineId: 'id', number, isStopped });
    held.judge.check();
    return held.log.violation?.guarantee;
  };
  assert.equal(put([1, false], [1, true], [2, false]), undefined);
  assert.equal(put([2, false], [1, false]), 'G2');
  assert.equal(put([1, true], [1, false]), 'G2');
});

test('G2: a guest counts as one that may read and write only while its open is the present one', async () => {
  const held = judging();
  await held.start(0);
  assert.deepEqual([...guestsWithAccess(held)], [['m', [guestDisk]]]);
  held.disk.open = { by: 'machine', attachEpoch: 4, atMs: 0, requestedMs: 0 };
  assert.deepEqual([...guestsWithAccess(held)], []);
});
