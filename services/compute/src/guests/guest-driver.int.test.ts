import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { type Certificates, type RunningServer, service, startServer } from '@interlock/rpc';
import { systemClock as clock, logger, systemRandom as random, renewable } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { readJournal } from '../guest/journal.ts';
import { readGuestFile } from '../guest/plan.ts';
import { until } from '../testing/test-cloud.ts';
import { GuestDriver, type GuestDriverOptions } from './guest-driver.ts';
import type { GuestDisk } from './vm-host.ts';

const vm = 'subscriptions/s/resourceGroups/g/virtualMachines/vm1';
const machineId = 'machine-1';
const log = logger({ service: 'test', clock, write: () => {} });
const sectors = new Map<string, Uint8Array>();
/** Reason with which the data service refuses; none while it works. */
let refusal: string | undefined;
let server: RunningServer;
let folder: string;

const refuse = (): void => {
  if (refusal !== undefined) throw new Rejection('FAILED_PRECONDITION', refusal, 'refused');
};
const data = service({
  definition: DiskDataServiceDefinition,
  implementation: {
    async *read({ name, offsetBytes, lengthBytes }, { metadata }) {
      refuse();
      assert.match(metadata.get('x-interlock-disk-access') ?? '', /^token-/);
      yield { data: sectors.get(`${name} ${offsetBytes}`) ?? new Uint8Array(lengthBytes) };
    },
    async write(requests) {
      let place = '';
      const pieces: Uint8Array[] = [];
      for await (const { header, data: piece } of requests) {
        refuse();
        if (header) place = `${header.name} ${header.offsetBytes}`;
        pieces.push(piece);
      }
      const bytes = Buffer.concat(pieces);
      sectors.set(place, bytes);
      return { writtenBytes: bytes.length };
    },
    async flush() {
      return {};
    },
  },
  authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
});

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'interlock-guests-'));
  server = await startServer({
    address: '127.0.0.1:0',
    tls: 'plaintext',
    services: [data],
    authenticate: async () => {
      throw new Error('no call has a token here');
    },
    authorize: async () => ({ allowed: false, principalActive: true }),
    clock,
    random,
    tracer: trace.getTracer('test'),
    log,
  });
});
after(async () => {
  await driver().stop(vm, { graceMs: 0 });
  await server.stop({ graceMs: 100, streamGraceMs: 100 });
  rmSync(folder, { recursive: true, force: true });
});

/** A driver as in a service that has just started. */
const driver = (changes: Partial<GuestDriverOptions> = {}) =>
  new GuestDriver({
    folder,
    tls: 'plaintext',
    parentPid: process.pid,
    node: process.execPath,
    env: { PATH: process.env.PATH ?? '' },
    qemu: { imageFolder: join(folder, 'image'), memoryMib: 256, cpus: 1, bootMs: 60_000, responseMs: 60_000 },
    clock,
    log,
    ...changes,
  });
const diskNamed = (name: string, changes: Partial<GuestDisk> = {}): GuestDisk => ({
  disk: `subscriptions/s/resourceGroups/g/disks/${name}`,
  lun: 0,
  isOs: false,
  sizeBytes: 2 ** 30,
  dataAddress: server.address,
  nbdAddress: '',
  accessToken: `token-${name}`,
  isContinued: false,
  ...changes,
});
const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 200, ioSizeBytes: 4_096 } as const;
const home = () => join(folder, ...vm.split('/'));
const journal = async () => readJournal(join(home(), 'io.jsonl'));

test('a guest outlives its service, takes and releases disks while it runs, and shuts down on request', {
  timeout: 180_000,
}, async () => {
  const first = driver();
  const own = diskNamed('a');
  await first.start(vm, { guest: 'PROCESS', machineId, disks: [own], workload });
  await until(journal, (entries) => entries.filter(({ op, ok }) => op === 'read' && ok).length > 3);

  const second = driver();
  assert.equal(await second.isRunning(vm), true);
  const extra = diskNamed('b', { lun: 1 });
  await second.attach(vm, extra);
  await until(journal, (entries) => entries.some(({ disk, ok, op }) => disk === extra.disk && ok && op === 'write'));
  await second.detach(vm, own.disk);
  const seen = (await journal()).filter(({ disk }) => disk === own.disk).length;
  await until(journal, (entries) => entries.filter(({ disk }) => disk === extra.disk).length > 20);
  assert.equal((await journal()).filter(({ disk }) => disk === own.disk).length, seen);

  await second.stop(vm, { graceMs: 5_000 });
  assert.equal(await second.isRunning(vm), false);
  // The driver that started it learns of its end by a separate event, which may arrive later.
  await until(
    () => first.isRunning(vm),
    (isRunning) => !isRunning,
  );
  assert.ok((await journal()).every(({ ok }) => ok));
  assert.equal((await journal()).at(-1)?.op, 'flush');
});

test('a refusal is journalled with the reason of the disk service, and acknowledged writes are verified', {
  timeout: 180_000,
}, async () => {
  const own = driver();
  const disk = diskNamed('a', { isContinued: true, accessToken: 'token-2' });
  await own.start(vm, { guest: 'PROCESS', machineId, disks: [disk], workload });
  await until(journal, (entries) => entries.some(({ op }) => op === 'verify'));
  refusal = 'KEY_DISABLED';
  await until(journal, (entries) => entries.some(({ reason }) => reason === 'KEY_DISABLED'));
  refusal = undefined;
  await own.stop(vm, { graceMs: 5_000 });
  assert.ok(
    (await journal()).filter(({ op }) => op === 'verify').every(({ ok, reason }) => ok || reason === 'KEY_DISABLED'),
  );
});

test('G8: tokens are in a file with mode 0600 that a stop removes, never in command line or environment', {
  timeout: 180_000,
}, async () => {
  const own = driver();
  await own.start(vm, {
    guest: 'PROCESS',
    machineId,
    disks: [diskNamed('c', { accessToken: 'token-secret' })],
    workload,
  });
  assert.equal(statSync(join(home(), 'guest.json')).mode & 0o777, 0o600);
  const pid = readFileSync(join(home(), 'guest.pid'), 'utf8');
  for (const file of ['cmdline', 'environ']) {
    assert.ok(!readFileSync(`/proc/${pid}/${file}`, 'utf8').includes('token-secret'), file);
  }
  await own.stop(vm, { graceMs: 5_000 });
  assert.throws(() => statSync(join(home(), 'guest.json')), { code: 'ENOENT' });
});

test('a killed guest is reported; a guest whose parent process is gone ends', { timeout: 180_000 }, async () => {
  const own = driver();
  const ended: string[] = [];
  own.onEnded((name) => ended.push(name));
  await own.start(vm, { guest: 'PROCESS', machineId, disks: [diskNamed('d')], workload });
  process.kill(Number(readFileSync(join(home(), 'guest.pid'), 'utf8')), 'SIGKILL');
  await until(
    async () => ended,
    (names) => names.length === 1,
  );
  assert.equal(await own.isRunning(vm), false);

  // No process has the highest possible id.
  const orphaned = driver({ parentPid: 4_194_304 });
  await orphaned.start(vm, { guest: 'PROCESS', machineId, disks: [diskNamed('d')], workload });
  await until(
    () => orphaned.isRunning(vm),
    (isRunning) => !isRunning,
  );
});

test('VM-42: a guest that is a process shuts down although its key is lost', { timeout: 180_000 }, async () => {
  const own = driver();
  await own.start(vm, { guest: 'PROCESS', machineId: 'machine-lost', disks: [diskNamed('lost')], workload });
  await until(journal, (entries) => entries.filter(({ op }) => op === 'write').length > 5);
  await own.stop(vm, { graceMs: 60_000, isKeyLost: true });
  const writes = (await journal()).filter(({ op }) => op === 'write').length;
  // A guest that is killed loses its newest counts.
  assert.equal((await own.ioOf(vm, 'machine-lost'))?.writes, writes);
});

test('a journal belongs to one machine: a new machine of the same name does not check the writes of the old one', {
  timeout: 180_000,
}, async () => {
  const own = driver();
  const disk = diskNamed('again', { isContinued: true });
  await own.start(vm, { guest: 'PROCESS', machineId: 'machine-old', disks: [disk], workload });
  await until(journal, (entries) => entries.filter(({ op }) => op === 'write').length > 5);
  await own.stop(vm, { graceMs: 5_000 });
  const counted = await own.ioOf(vm, 'machine-old');
  const writes = (await journal()).filter(({ op }) => op === 'write').length;
  assert.deepEqual([counted?.writes, counted?.failures, counted?.mismatches], [writes, 0, 0]);
  // A new disk of the same name: the earlier writes are not on it.
  sectors.clear();
  await own.start(vm, { guest: 'PROCESS', machineId: 'machine-new', disks: [disk], workload });
  await until(journal, (entries) => entries.filter(({ op }) => op === 'read').length > 5);
  await own.stop(vm, { graceMs: 5_000 });
  assert.deepEqual(
    (await journal()).filter(({ op, reason }) => op === 'verify' || reason !== undefined),
    [],
  );
  assert.equal(await own.ioOf(vm, 'machine-old'), undefined);
  assert.equal((await own.ioOf(vm, 'machine-new'))?.mismatches, 0);

  sectors.clear();
  await own.start(vm, { guest: 'PROCESS', machineId: 'machine-new', disks: [disk], workload });
  await until(
    () => own.ioOf(vm, 'machine-new'),
    (io) => (io?.mismatches ?? 0) > 0,
  );
  await own.stop(vm, { graceMs: 5_000 });
  assert.equal((await own.ioOf(vm, 'machine-new'))?.newestMismatch?.disk, disk.disk, 'it checks its own writes');
  await own.forget(vm);
  assert.equal(existsSync(home()), false);
});

test('another process finds running guests, and ends one without ending a later guest of the same machine', {
  timeout: 180_000,
}, async () => {
  const idle = { kind: 'IDLE', ioPerSecond: 0, ioSizeBytes: 0 } as const;
  const own = driver();
  assert.deepEqual(await own.runningGuests(), []);
  await own.start(vm, { guest: 'PROCESS', machineId, disks: [], workload: idle });
  const other = driver();
  const [found] = await other.runningGuests();
  assert.equal(found?.vm, vm);
  await other.stop(vm, { graceMs: 0 });
  await own.stop(vm, { graceMs: 0 });
  await own.start(vm, { guest: 'PROCESS', machineId, disks: [], workload: idle });
  await found?.end();
  assert.equal(await own.isRunning(vm), true, 'a later guest of the same machine is another one');
  for (const { end } of await other.runningGuests()) await end();
  assert.equal(await other.isRunning(vm), false);
  assert.deepEqual(await other.runningGuests(), []);
});

test('the driver distinguishes a guest that ended by itself from a guest whose host restarted', {
  timeout: 180_000,
}, async () => {
  const first = driver();
  const idle = { kind: 'IDLE', ioPerSecond: 0, ioSizeBytes: 0 } as const;
  await first.start(vm, { guest: 'PROCESS', machineId, disks: [], workload: idle });
  const pid = Number(readFileSync(join(home(), 'guest.pid'), 'utf8'));
  process.kill(pid, 'SIGKILL');
  const second = driver();
  await until(
    () => second.isRunning(vm),
    (isRunning) => !isRunning,
  );
  assert.equal((await second.endOf(vm)).end, 'GUEST_ENDED');
  // Guests now have another parent process.
  assert.equal((await driver({ parentPid: process.ppid }).endOf(vm)).end, 'HOST_RESTARTED');
  writeFileSync(join(home(), 'guest.json'), '');
  assert.equal(
    (await second.endOf(vm)).end,
    'HOST_RESTARTED',
    'a host that lost its power leaves a file without its content',
  );
  await second.stop(vm, { graceMs: 0 });
  assert.equal((await second.endOf(vm)).end, 'HOST_RESTARTED', 'no file of the guest is left');
});

test('a renewed certificate reaches guests that run, that are starting, or that an earlier process started', {
  timeout: 180_000,
}, async () => {
  const named = (name: string): Certificates => ({
    certificate: `certificate ${name}`,
    key: `key ${name}`,
    ca: `authority ${name}`,
    endsAt: 0,
    authorityEndsAt: 0,
  });
  /** The guest has applied that certificate. It was up when the signal arrived; otherwise the signal would have ended it. */
  const hasTaken = (name: string) =>
    until(
      async () => ({
        plan: readGuestFile(join(home(), 'guest.json')),
        applied: readFileSync(join(home(), 'guest.applied'), 'utf8'),
      }),
      ({ plan, applied }) => plan.client?.key === `key ${name}` && Number(applied) === plan.generation,
    );
  const tls = renewable(named('one'));
  const own = driver({ tls });
  const starting = own.start(vm, {
    guest: 'PROCESS',
    machineId,
    disks: [],
    workload: { kind: 'IDLE', ioPerSecond: 0, ioSizeBytes: 0 },
  });
  // While the process starts, it does not handle the signal yet.
  await until(
    async () => existsSync(join(home(), 'guest.pid')),
    (isThere) => isThere,
  );
  tls.renew(named('two'));
  await starting;
  await hasTaken('two');
  tls.renew(named('three'));
  await hasTaken('three');

  const later = driver({ tls: renewable(named('four')) });
  assert.equal(await later.isRunning(vm), true);
  await hasTaken('four');
  assert.equal(readGuestFile(join(home(), 'guest.json')).authority, 'authority four');
  await later.stop(vm, { graceMs: 5_000 });
});
