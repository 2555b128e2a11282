import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { category, memoryStore, Rejection, StoreUnavailable } from '@interlock/event-store';
import { systemClock as clock, keyedMutex, logger, systemRandom as random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createNoopMeter, trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc';
import { beginAccess } from '../../disk/attachment-decider.ts';
import { begin as beginDisk, existing, finish } from '../../disk/decider.ts';
import { recordOf } from '../../disk/records.ts';
import { disks as diskStreams } from '../../disk/state.ts';
import { closeDisk, openDisk } from '../../testing/test-one-disk.ts';
import { openDiskCipher } from '../cipher/dek.ts';
import { volumeRefOf } from '../header/header-refs.ts';
import { firstHeader } from '../keys/deks.ts';
import { createKeyAccess } from '../keys/key-access.ts';
import { leaseDefaults } from '../keys/lease.ts';
import { openLeases } from '../keys/leases.ts';
import { platformKey as openPlatformKey } from '../keys/platform-key.ts';
import { SetOptions } from '../keys/set-options.ts';
import type { DiskRecords } from '../records.ts';
import { pieceSize } from '../storage/sector.ts';
import { memoryVolumeFiles } from '../storage/volume-files.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../test-disk-host.ts';
import { Headers } from '../volume/authentic-headers.ts';
import { replaceHeader, writeFirstHeader } from '../volume/replace-header.ts';
import { Volumes } from '../volume/volumes.ts';
import { accessTokenKey, newAccessToken } from './access-token.ts';
import { Sessions } from './sessions.ts';

const under = (diskEncryptionSet: string) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet }) as const;

test('CMK-100: a disk can be reopened while a write of its old access waits for the vault', {
  timeout: 120_000,
}, async () => {
  const host = await startDiskHost();
  const parent = 'subscriptions/s/resourceGroups/g';
  const spec = { location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption: under(setName) } as const;
  await host.disks.createDisk({ parent, diskId: 'd', ...spec });
  const content = randomBytes(8_192);
  await host.fill(content);
  const write = await host.writer();
  // The process that knew the DEK is gone, so the write must call the vault.
  await host.restart();
  const hold = host.holdUnwrap();
  const writing = assert.rejects(write(randomBytes(8_192)), { reason: 'ATTACH_EPOCH_OUTDATED' });
  await hold.reached;
  await host.disks.endAccess({ name: diskName });
  const reading = host.reader();
  // Once its event is stored, the open waits in the queue of the disk for the write to end.
  const isBegun = async () => {
    const state = await host.stateOf(diskName);
    return state.status === 'active' && state.access !== null;
  };
  while (!(await isBegun())) await pause(1);
  hold.release();
  await writing;
  const read = await reading;
  assert.deepEqual(await read(content.length), content, 'nothing of the old access was written');
  await host.disks.endAccess({ name: diskName });
  await host.stop();
});

test('VM-33: a disk can be reopened while a write of its old access waits for a copy of the disk', {
  timeout: 20_000,
}, async (t) => {
  let meet = async (): Promise<void> => undefined;
  const host = await startDiskHost({
    partBytesMax: 2 * pieceSize,
    beforeWrite: async (part) => {
      if (part === 'data') await meet();
    },
  });
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  t.after(() => {
    released.resolve();
    return host.stop();
  });
  const parent = 'subscriptions/s/resourceGroups/g';
  const spec = { location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption: under(setName) } as const;
  await host.disks.createDisk({ parent, diskId: 'd', ...spec });
  const content = randomBytes(8_192);
  await host.fill(content);
  const write = await host.writer();
  meet = () => {
    reached.resolve();
    return released.promise;
  };
  const taken = host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  await reached.promise;
  const writing = assert.rejects(write(randomBytes(8_192)), { reason: 'ATTACH_EPOCH_OUTDATED' });
  // The write waits for the copy by then.
  await pause(50);
  await host.disks.endAccess({ name: diskName });
  const read = await host.reader();
  assert.deepEqual(await read(content.length), content);
  meet = async () => undefined;
  released.resolve();
  await taken;
  await writing;
  assert.deepEqual(await read(content.length), content, 'nothing of the old access was written');
});

const virtualMachine = 'subscriptions/s/resourceGroups/g/virtualMachines/vm';
const name = diskName;
/** Gives access to the disk. @returns the token */
const openToMachine = async ({ disks }: DiskHost): Promise<string> => {
  await disks.attachDisk({ name, virtualMachine, requestId: 'r' });
  return (await openDisk(disks, { name, virtualMachine })).accessToken;
};
const openToUser = async ({ disks }: DiskHost): Promise<string> =>
  (await disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 60 })).accessToken;
const ends: readonly (readonly [string, typeof openToMachine, (disks: DiskHost['disks']) => Promise<unknown>])[] = [
  ['a close', openToMachine, (disks) => closeDisk(disks, { name, virtualMachine })],
  ['a close of several disks', openToMachine, (disks) => disks.closeDisks({ closings: [{ name, virtualMachine }] })],
  ['a detach', openToMachine, (disks) => disks.detachDisk({ name, virtualMachine })],
  ['a newer open', openToMachine, (disks) => openDisk(disks, { name, virtualMachine })],
  ['the end of direct access', openToUser, (disks) => disks.endAccess({ name })],
];
for (const [what, open, end] of ends) {
  test(`G8, CMK-102: ${what} ends the access if the commit is stored and its response is lost, without a retry by the caller`, {
    timeout: 20_000,
  }, async (t) => {
    let isSilent = false;
    const host = await startDiskHost({
      afterCommit: () => {
        if (isSilent) throw new StoreUnavailable('stored, but not answered');
      },
    });
    t.after(() => host.stop());
    const spec = { location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption: under(setName) } as const;
    await host.disks.createDisk({ parent: 'subscriptions/s/resourceGroups/g', diskId: 'd', ...spec });
    const metadata = new Metadata({ [accessTokenKey]: await open(host) });
    const read = async (): Promise<string> => {
      const data = host.clientWithoutRetries(DiskDataServiceDefinition);
      try {
        const answers = data.read({ name, offsetBytes: 0, lengthBytes: 4_096 }, { metadata });
        for await (const { data: piece } of answers) assert.equal(piece.length, 4_096);
        return 'done';
      } catch (error) {
        return error instanceof Rejection ? error.reason : String(error);
      }
    };
    assert.equal(await read(), 'done');
    isSilent = true;
    await assert.rejects(end(host.clientWithoutRetries(DiskServiceDefinition)), { reason: 'STORE_UNAVAILABLE' });
    isSilent = false;
    let outcome = await read();
    for (let looks = 0; looks < 200 && outcome === 'done'; looks += 1) {
      await pause(5);
      outcome = await read();
    }
    assert.equal(outcome, 'ATTACH_EPOCH_OUTDATED');
  });
}

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };

const log = logger({ service: 'disk', clock, write: () => undefined });

/** Leases of keys whose set nothing is asked about. */
const leasesWithoutSets = (keyAccess: ReturnType<typeof createKeyAccess>, signal: AbortSignal) =>
  openLeases({
    keyAccess,
    options: new SetOptions(),
    sets: { getDiskEncryptionSet: () => assert.fail('no set is asked') },
    reports: { about: () => undefined },
    terms: leaseDefaults,
    ...{ clock, random, log, signal },
    tracer: trace.getTracer('test'),
  });

/** Sessions over a disk to which a user has direct access, and a grant of the vault at epoch 4. */
const openedDisk = async () => {
  const [uniqueId, volumeId, dekId] = [random.uuid(), random.uuid(), random.uuid()];
  const key = { set: setName, keyVersion: 'vaults/v/keys/k/versions/1' };
  const disks = category(memoryStore({ clock }), diskStreams);
  const encryption = { type: 'customer', set: setName } as const;
  const spec = { uniqueId, location: 'l', sku: 'premium_ssd', sizeGib: 1, encryption, source: '' } as const;
  const wrap = { keyVersion: key.keyVersion, generation: 1 };
  const wrapped = { keyVersion: key.keyVersion, algorithm: 'RSA-OAEP-256', wrapped: random.bytes(256) };
  const header = firstHeader({ dekId, diskId: uniqueId }, 2 ** 20, setName, { wrap: wrapped, ref: wrap });
  const volume = volumeRefOf(volumeId, header, 'authenticator');
  const { token, tokenHash } = newAccessToken(1, random);
  const at = clock.now();
  await disks.transact(diskName, beginDisk(at, 'wish', { host: 'disk-0', volumeId }, spec), cause);
  await disks.transact(diskName, finish(at, { uniqueId, volume, wrap, accessEpoch: 4 }), cause);
  const principal = { kind: 'user', id: 'p', name: 'principals/p', tenant: 't' } as const;
  const request = {
    principal,
    attachEpoch: 1,
    level: 'read',
    tokenHash,
    expiresAt: at + 60_000,
    accessEpoch: 4,
  } as const;
  await disks.transact(diskName, beginAccess(at, request), cause);
  const loaded = await disks.load(diskName);

  const platformKey = openPlatformKey(masterKey(random.bytes(32)), random);
  const volumes = new Volumes({ files: memoryVolumeFiles(random), platformKey, hostEpoch: 1, random });
  await volumes.create(volumeId, 2 ** 20, false);
  await writeFirstHeader(volumes, volumeId, header);
  let looking: Promise<void> | undefined;
  const keyAccess = createKeyAccess(clock, leaseDefaults);
  const ending = new AbortController();
  const leases = leasesWithoutSets(keyAccess, ending.signal);
  const noAnswer = async () => assert.fail('nothing is to be asked of the vault');
  const record = recordOf({ ...loaded, state: existing(loaded.state) }, clock);
  let { access } = record;
  const records: DiskRecords = {
    async disk() {
      await looking;
      return { ...record, access };
    },
    accesses: async () => new Map([[diskName, { access, attachEpoch: record.attachEpoch }]]),
    holder: async () => record.holder,
    async *withAccess() {},
    header: async () => undefined,
    endAccess: async () => undefined,
  };
  const sessions = new Sessions({
    records,
    volumes,
    ownership: { intactSince: 0 },
    headers: new Headers({ records, volumes, log, meter: createNoopMeter() }),
    deks: { unwrap: noAnswer, check: noAnswer },
    keyAccess,
    leases,
    turns: keyedMutex(),
    retries: { add: () => assert.fail('the store responds') },
    openCipher: (dek) => openDiskCipher(dek, undefined),
    endForeignMove: async () => undefined,
    watchHolder: async () => undefined,
    clock,
    log,
  });
  const grant = { accessEpoch: 4, sent: keyAccess.nextCall(), principal: undefined };
  keyAccess.granted(key, grant, 'unwrapped');
  return {
    keyAccess,
    key,
    leases,
    sessions,
    /** Lookups of the disk record wait from now on. @returns lets them continue */
    holdLooks: () => {
      const hold = Promise.withResolvers<void>();
      looking = hold.promise;
      return hold.resolve;
    },
    /** Puts another version into the header. */
    moveTo: (keyVersion: string) =>
      replaceHeader(volumes, volumeId, header, { wrap: { ...wrapped, keyVersion } }, async () => undefined),
    /** Ends the access in the records, as a control process does while this host does not respond. */
    closeElsewhere: () => {
      access = null;
    },
    /** @param since when the record was read */
    begin: async (since = sessions.closingsApplied) => {
      await sessions.begin(record, { dek: random.bytes(32), grant }, since);
      return sessions.of(diskName, token);
    },
    stop: async () => {
      ending.abort();
      await sessions.close();
      await volumes.close();
    },
  };
};

for (const [accessEpoch, isHeld] of [
  [5, false],
  [4, true],
] as const) {
  test(`CMK-102: a DEK unwrapped at epoch 4 is ${isHeld ? 'kept' : 'dropped at once'} if a loss at epoch ${accessEpoch} arrived before it`, async () => {
    const { keyAccess, key, begin, stop } = await openedDisk();
    keyAccess.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch }, 'fact');
    const session = await begin();
    assert.equal(session.hasDek, isHeld);
    const reading = session.disk.read(0, 4_096, () => undefined).next();
    if (isHeld) await reading;
    else await assert.rejects(reading, { reason: 'DEK_DROPPED' });
    await stop();
  });
}

test('G1, G3: an access that ends while its DEK is fetched uses no lease, even if its disk was rewrapped meanwhile', async () => {
  const { begin, sessions, leases, holdLooks, moveTo, stop } = await openedDisk();
  const session = await begin();
  const letGo = holdLooks();
  const fetching = Promise.allSettled([sessions.fetchDek(session, cause)]);
  sessions.end(diskName);
  await moveTo('vaults/v/keys/k/versions/2');
  letGo();
  const [fetched] = await fetching;
  assert.deepEqual(leases.list(), []);
  assert.ok(fetched.status === 'rejected' && fetched.reason.reason === 'ATTACH_EPOCH_OUTDATED');
  await stop();
});

test('G2: an access that ended without its host ends when the host applies that, and another one stays', async () => {
  const { begin, sessions, closeElsewhere, stop } = await openedDisk();
  const session = await begin();
  await sessions.endClosed();
  assert.ok(!session.isEnded && session.hasDek);
  closeElsewhere();
  await sessions.endClosed();
  assert.ok(session.isEnded && !session.hasDek);
  assert.deepEqual(sessions.names(), []);
  await stop();
});

test('G2: an access whose record was read before its end was applied gets no session', async () => {
  const { begin, sessions, closeElsewhere, stop } = await openedDisk();
  const readAt = sessions.closingsApplied;
  await sessions.endClosed();
  assert.ok((await begin(readAt)).hasDek, 'the end of another access');
  sessions.end(diskName);
  closeElsewhere();
  await sessions.endClosed();
  await assert.rejects(begin(readAt), { reason: 'ATTACH_EPOCH_OUTDATED' });
  assert.deepEqual(sessions.names(), []);
  await stop();
});
