import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { Rejection, StoreUnavailable } from '@interlock/event-store';
import { dekLength } from '../host/cipher/dek.ts';
import { encodeDekPayload } from '../host/cipher/dek-payload.ts';
import { encodeSlot, readUnverifiedSlot } from '../host/header/disk-header-format.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { openDisk } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const virtualMachine = `${parent}/virtualMachines/m`;

/** Collects every buffer of the length of a DEK, with its own memory, that is written to from now on. */
const watchDeks = (context: TestContext): ReadonlySet<Uint8Array> => {
  const seen = new Set<Uint8Array>();
  const { set } = Uint8Array.prototype;
  context.mock.method(Uint8Array.prototype, 'set', function (this: Uint8Array, ...given: Parameters<typeof set>) {
    set.apply(this, given);
    if (this.length === dekLength && this.buffer.byteLength === dekLength) seen.add(this);
  });
  return seen;
};

interface World {
  readonly host: DiskHost;
  /** `store`: commits with events fail. `volume`: the data of volumes cannot be opened. */
  readonly broken: { store: boolean; volume: boolean };
}

/** A disk attached to a machine that has not opened it yet. */
const attachedDisk = async (context: TestContext): Promise<World> => {
  const broken = { store: false, volume: false };
  const host = await startDiskHost({
    onCommit: ({ appends = [] }) => {
      if (broken.store && appends.length > 0) throw new StoreUnavailable('no answer');
    },
    beforeOpen: async (part) => {
      if (broken.volume && part === 'data') throw Object.assign(new Error('input/output error'), { code: 'EIO' });
    },
  });
  context.after(() => host.stop());
  await host.disks.createDisk({
    ...{ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 },
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName },
  });
  await host.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'one' });
  return { host, broken };
};

/** Replaces the disk's wrapped DEK by a wrap of these bytes, as an attacker with the master key can. */
const plant = async (host: DiskHost, payloadOf: (owner: { dekId: string; diskId: string }) => Uint8Array) => {
  const state = await host.stateOf(diskName);
  const [slot] = await host.headerOf(diskName);
  const header = slot && readUnverifiedSlot(slot);
  assert.ok(header && state.status === 'active');
  const wrapped = host.wrapPublicly(header.wrap.keyVersion, payloadOf(header));
  const planted = { ...header, sequence: header.sequence + 1, wrap: { ...header.wrap, wrapped } };
  await host.putHeader(diskName, [encodeSlot(planted, host.slotMac(state.volume.volumeId)), undefined]);
};

const failures: Readonly<
  Record<string, { before?: (world: World) => Promise<void>; whileUnwrapped?: (world: World) => Promise<unknown> }>
> = {
  'its key is lost during the unwrap': {
    whileUnwrapped: ({ host }) => {
      const { keyVersion } = host.keyOf(setName);
      const loss = { set: setName, keyVersion, accessEpoch: 5, since: new Date(), partial: false } as const;
      return host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: { ...loss, reason: 'KEY_DISABLED' } });
    },
  },
  'its disk is detached during the unwrap': {
    whileUnwrapped: ({ host }) => host.disks.detachDisk({ name: diskName, virtualMachine }),
  },
  'the header of its disk becomes unreadable during the unwrap': {
    whileUnwrapped: async ({ host }) => {
      const noise = new Uint8Array(randomBytes(4_096));
      await host.putHeader(diskName, [noise, noise]);
      host.faults.arm(1, 'once');
    },
  },
  'the store is unavailable': {
    whileUnwrapped: async ({ broken }) => {
      broken.store = true;
    },
  },
  'the volume of its disk cannot be opened': {
    whileUnwrapped: async ({ broken }) => {
      broken.volume = true;
    },
  },
  'its DEK is not the one the disk was made with': {
    before: ({ host }) => plant(host, (owner) => encodeDekPayload(randomBytes(dekLength), owner)),
  },
  'its wrap is for another disk': {
    before: ({ host }) =>
      plant(host, (owner) => encodeDekPayload(randomBytes(dekLength), { ...owner, diskId: owner.dekId })),
  },
};

for (const [what, { before, whileUnwrapped }] of Object.entries(failures)) {
  test(`G8: an open that fails because ${what} leaves no data key in memory`, async (context) => {
    const world = await attachedDisk(context);
    const { host } = world;
    await before?.(world);
    const hold = host.holdUnwrap();
    const seen = watchDeks(context);
    const opening = openDisk(host.disks, { name: diskName, virtualMachine });
    opening.catch(() => undefined);
    await hold.reached;
    await whileUnwrapped?.(world);
    hold.release();
    await assert.rejects(opening, (error) => error instanceof Rejection || error instanceof Error);
    assert.ok(what === 'its wrap is for another disk' || seen.size > 0, 'it was in memory');
    for (const dek of seen) assert.ok(dek.every((byte) => byte === 0));
  });
}
