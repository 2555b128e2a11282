import assert from 'node:assert/strict';
import { readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { seededRandom } from '@interlock/runtime';
import { at, openTestHost, planOf, type TestHost, vm } from './test-placed.ts';

let host: TestHost;
beforeEach(() => {
  host = openTestHost();
});
afterEach(() => host.remove());

const outdated = (placement: number) => (error: unknown) => {
  assert.ok(error instanceof Error && 'reason' in error && 'metadata' in error);
  assert.deepEqual(
    [error.reason, Object(error.metadata).placement],
    ['PLACEMENT_OUTDATED', String(placement)],
    String(error),
  );
  return true;
};

test('G2: a start never follows the stop of its placement, also if it arrives after it, or in another process', async () => {
  await host.stop(3);
  await assert.rejects(host.start(3), { reason: 'GUEST_STOPPED' });
  await assert.rejects(host.start(2), outdated(3));
  host.restart();
  await assert.rejects(host.start(3), { reason: 'GUEST_STOPPED' });
  assert.deepEqual(host.driver.history, []);
  await host.start(4);
  assert.equal(host.running(), '4');
});

test('G2: a delayed stop of an earlier placement ends nothing', async () => {
  await host.start(5);
  await assert.rejects(host.stop(4), outdated(5));
  host.restart();
  await assert.rejects(host.stop(4), outdated(5));
  assert.equal(host.running(), '5');
});

test('a repeated start joins the first one, and starts no second guest', async () => {
  host.driver.slowToStart.set(vm, 1_000);
  const starts = Promise.all([host.start(1), host.start(1)]);
  await host.clock.drive(starts);
  await host.start(1);
  host.restart();
  await host.start(1);
  assert.deepEqual(host.driver.history, [`start ${vm}`]);
});

test('G2: the guest of an earlier placement, or of an earlier machine of that name, ends before the next one starts', async () => {
  await host.start(1);
  await host.start(2);
  assert.deepEqual(host.driver.history, [`start ${vm}`, `stop ${vm}`, `start ${vm}`]);
  await host.start(1, 'the next machine');
  assert.equal(host.running(), '1');
  assert.equal(host.driver.history.length, 5);
});

test('G2: a start waits until a guest that is shutting down is gone', async () => {
  await host.start(1);
  host.driver.slowToStop.set(vm, 5_000);
  const stopping = host.stop(1, 10_000);
  await host.clock.drive(host.start(2));
  await host.clock.drive(stopping);
  assert.equal(host.running(), '2');
});

test('G2: a stop ends a start under way, and a later start ends an earlier one', async () => {
  host.driver.slowToStart.set(vm, 60_000);
  const first = host.start(1);
  const second = assert.rejects(first, /stopped before it was up/);
  await host.stop(1);
  await second;
  assert.equal(host.running(), undefined);
  const third = assert.rejects(host.start(2), /stopped before it was up/);
  await host.clock.pass(1);
  host.driver.slowToStart.delete(vm);
  await host.clock.drive(host.start(3));
  await third;
  assert.equal(host.running(), '3');
});

test('a crash after a placement is stored as started: the repeated start starts it, and none of an earlier placement', async () => {
  host.placements.put({ ...at(2), isStopped: false });
  host.restart();
  assert.deepEqual(await host.guests.recover(), [{ ...at(2), isStopped: false }]);
  await assert.rejects(host.start(1), outdated(2));
  await host.start(2);
  assert.equal(host.running(), '2');
});

test('G2: a guest that comes up while no process of the host runs is not gone, and ends with the stop of its placement', async () => {
  host.driver.slowToStart.set(vm, 5_000);
  const ended = assert.rejects(host.start(1), /stopped before it was up/);
  await host.clock.pass(1_000);
  host.restart();
  assert.deepEqual(await host.guests.recover(), []);
  await host.guests.forget(at(1));
  assert.ok(host.guests.isOn(at(1)), 'its placement stays known');
  await host.stop(1);
  await ended;
  await host.clock.pass(5_000);
  assert.equal(host.running(), undefined);
});

test('G2: a crash after a placement is stored as stopped: the next process ends its guest', async () => {
  await host.start(2);
  host.placements.put({ ...at(2), isStopped: true });
  host.restart();
  assert.deepEqual(await host.guests.recover(), []);
  assert.equal(host.running(), undefined);
});

test('G2: a process that starts ends guests of which it knows no placement, and no others', async () => {
  host.driver.orphan('subscriptions/s/resourceGroups/g/virtualMachines/unknown');
  await host.start(1);
  host.restart();
  await host.guests.recover();
  assert.deepEqual([...host.driver.guests.keys()], [vm]);
});

test('G2: if the storage is full, a stop ends the guest and fails; a later start of that placement is refused', async () => {
  await host.start(1);
  const [file = ''] = readdirSync(host.folder);
  symlinkSync('/dev/full', join(host.folder, `${file}.new`));
  await assert.rejects(host.stop(1), { code: 'ENOSPC' });
  assert.equal(host.running(), undefined);
  await assert.rejects(host.start(1), { reason: 'GUEST_STOPPED' });
  await assert.rejects(host.start(2), { code: 'ENOSPC' });
  assert.equal(host.running(), undefined, 'what is not stored does not run');
});

test('only the placement whose guest runs gets a disk', async () => {
  await host.start(2);
  const disk = { ...planOf(at(2)).disks[0], disk: 'second' } as ReturnType<typeof planOf>['disks'][number];
  await assert.rejects(host.guests.attach(at(1), disk, 1), outdated(2));
  await assert.rejects(host.guests.detach(at(1), 'd', 1), outdated(2));
  await assert.rejects(host.guests.attach(at(3), disk, 1), { reason: 'GUEST_NOT_RUNNING' });
  await host.guests.detach(at(3), 'd', 1);
  await host.guests.attach(at(2), disk, 1);
  assert.equal(host.driver.guests.get(vm)?.length, 2);
  await host.guests.detach(at(2), 'second', 2);
  assert.equal(host.driver.guests.get(vm)?.length, 1);
});

test('G5: a call about a disk that arrives after a later one changes nothing', async () => {
  await host.start(2);
  const disk = { ...planOf(at(2)).disks[0], disk: 'second' } as ReturnType<typeof planOf>['disks'][number];
  const disks = () => host.driver.guests.get(vm)?.map((one) => one.disk);
  await host.guests.attach(at(2), disk, 5);
  await host.guests.detach(at(2), 'second', 4);
  assert.deepEqual(disks(), ['d', 'second'], 'it was attached later');
  await host.guests.detach(at(2), 'second', 6);
  await host.guests.attach(at(2), disk, 5);
  assert.deepEqual(disks(), ['d'], 'it was detached later');
  await host.guests.detach(at(2), 'd', 1);
  assert.deepEqual(disks(), [], 'what happened to another disk does not count');
});

test('the files of a machine are kept while its guest runs, and for another placement or machine', async () => {
  await host.start(2);
  await host.guests.forget(at(2));
  await assert.rejects(host.guests.forget(at(1)), outdated(2));
  await host.stop(2);
  await host.guests.forget(at(2, 'another'));
  assert.equal(host.guests.all().length, 1);
  await host.guests.forget(at(2));
  host.restart();
  assert.deepEqual([host.guests.all(), readdirSync(host.folder)], [[], []]);
});

test('a host takes as many guests as its capacity, and more when some are stopped', async () => {
  host.remove();
  host = openTestHost(1);
  await host.start(1);
  const other = { ...at(1), vm: `${vm}0` };
  await assert.rejects(host.guests.start(other, planOf(other)), { reason: 'VM_HOST_FULL' });
  await host.start(2);
  await host.stop(2);
  await host.guests.start(other, planOf(other));
});

test('a host that is lost ends every guest, and starts none of these placements again', async () => {
  await host.start(1);
  await host.guests.endAll();
  assert.equal(host.running(), undefined);
  await assert.rejects(host.start(1), { reason: 'GUEST_STOPPED' });
});

test('a file that names no placement is refused with its path', () => {
  writeFileSync(join(host.folder, 'bad.json'), '{"vm":"x"}');
  assert.throws(() => host.restart(), /bad\.json does not name the placement/);
});

test('G2: calls in any order leave a guest only of the newest placement, and only if that was not stopped', async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seededRandom(seed);
    const one = openTestHost();
    try {
      one.driver.slowToStart.set(vm, 300);
      one.driver.slowToStop.set(vm, 500);
      let newest = 0;
      const stopped = new Set<number>();
      const calls = Array.from({ length: 12 }, async () => {
        await one.clock.sleep(1 + random.int(1_500));
        const number = 1 + random.int(4);
        if (random.chance(0.6)) {
          await one.start(number);
        } else {
          await one.stop(number, random.int(400));
          stopped.add(number);
        }
        newest = Math.max(newest, number);
      });
      const outcomes = await one.clock.drive(Promise.allSettled(calls));
      for (const { reason } of outcomes.filter((outcome) => outcome.status === 'rejected'))
        assert.doesNotMatch(String(reason), /has a guest already|being removed/, `seed ${seed}`);
      const running = Number(one.running() ?? 0);
      const expected = [...stopped].some((number) => number >= newest) ? [0] : [0, newest];
      assert.ok(expected.includes(running), `seed ${seed}: placement ${running} runs, the newest is ${newest}`);
      assert.ok(running === 0 || one.guests.isOn(at(running)), `seed ${seed}`);
    } finally {
      one.remove();
    }
  }
});
