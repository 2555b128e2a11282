import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { resourceGroup } from '../testing/test-cloud-disks.ts';
import { until } from '../testing/test-disk-cloud.ts';
import { type DiskFleet, startDiskFleet } from '../testing/test-disk-fleet.ts';
import { openDisk } from '../testing/test-one-disk.ts';

let fleet: DiskFleet;
before(async () => {
  fleet = await startDiskFleet({ hosts: 2, hostLeaseTtlMs: 6_000, leases: { ioPauseTimeoutMs: 500 } });
});
after(() => fleet.close());

const limit = { timeout: 180_000 };
const content = randomBytes(8_192);

/** An open disk of a machine with content, on a host. */
const openOn = async (host: number) => {
  for (;;) {
    const { name, diskHost } = await fleet.newDisk({ set: await fleet.newSet() });
    if (diskHost !== `diskHosts/disk-${host}`) continue;
    const { virtualMachine, accessToken, dataAddress } = await fleet.openNew(name);
    const data = fleet.at(dataAddress);
    await data.write(name, accessToken, 0, content);
    await data.flush(name, accessToken);
    const read = () =>
      data.read(name, accessToken, 0, content.length).then(
        () => 'read',
        ({ reason }) => reason,
      );
    return { name, virtualMachine, read, closing: { name, virtualMachine, attachEpoch: 0 } };
  }
};

/** Opens a disk for a machine that has it, and reads it. */
const contentOf = async (name: string, virtualMachine: string): Promise<Buffer> => {
  const { accessToken, dataAddress } = await openDisk(fleet.compute, { name, virtualMachine });
  return fleet.at(dataAddress).read(name, accessToken, 0, content.length);
};

test(
  'G2: a disk is closed without its host when the host cannot serve it any more, and other disks stay open',
  limit,
  async () => {
    const [closed, kept, elsewhere] = [await openOn(0), await openOn(0), await openOn(1)];
    const again = fleet.hang(0);
    assert.equal(await closed.read(), 'read');
    const { outcomes } = await fleet.compute.closeDisks({ closings: [closed.closing, elsewhere.closing] });
    // The host does not respond to control processes; its door for data does.
    assert.equal(await closed.read(), 'ATTACH_EPOCH_OUTDATED');
    assert.deepEqual(
      outcomes.map(({ outcome, event }) => [outcome?.$case, event !== '']),
      [
        ['closed', true],
        ['closed', true],
      ],
    );
    assert.equal(await kept.read(), 'read');
    // A repeat finds the same.
    const { outcomes: repeated } = await fleet.compute.closeDisks({ closings: [closed.closing] });
    assert.deepEqual(repeated, [outcomes[0]]);
    again();
    assert.deepEqual(await contentOf(closed.name, closed.virtualMachine), content);
  },
);

test('G2: a disk is detached without its host, and another machine has it when the host responds', limit, async () => {
  const { name, virtualMachine, read } = await openOn(0);
  const again = fleet.hang(0);
  const shown = await fleet.compute.detachDisk({ name, virtualMachine });
  assert.equal(await read(), 'ATTACH_EPOCH_OUTDATED');
  assert.deepEqual([shown.managedBy, shown.state], ['', 'UNATTACHED']);
  again();
  const other = `${resourceGroup}/virtualMachines/vm-${randomUUID().slice(0, 8)}`;
  await fleet.compute.attachDisk({ name, virtualMachine: other, requestId: randomUUID() });
  assert.deepEqual(await contentOf(name, other), content);
});

test(
  'G2: a host that can reach nothing keeps its open disks until its lease is over; then they are closed, also when it is back',
  limit,
  async () => {
    const { name, virtualMachine, read, closing } = await openOn(0);
    const [again, reconnect] = [fleet.hang(0), fleet.cutStore(0)];
    let answer: string | undefined;
    void fleet.compute.closeDisks({ closings: [closing] }, { deadlineMs: 60_000 }).then(
      ({ outcomes }) => {
        answer = outcomes[0]?.outcome?.$case;
      },
      (error: unknown) => {
        answer = String(error);
      },
    );
    // Its lease is not over yet, so the close waits: the last read before the answer may succeed, and none after it.
    let readsBefore = 0;
    while (answer === undefined) if ((await read()) === 'read') readsBefore += 1;
    assert.equal(answer, 'closed');
    assert.ok(readsBefore > 0);
    assert.notEqual(await read(), 'read');
    reconnect();
    again();
    await until(async () => {
      const outcome = await read();
      assert.notEqual(outcome, 'read');
      return outcome === 'ATTACH_EPOCH_OUTDATED';
    });
    assert.deepEqual(await contentOf(name, virtualMachine), content);
  },
);
