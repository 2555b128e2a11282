import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { exportNameOf } from '../../services/disk/src/host/nbd/negotiation.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { location, makeWorld, type World } from '../cloud/world.ts';

// Foreign programs on an encrypted disk. In `npm test`, services/disk/src/host/nbd reads back what it wrote at any offset.

/** Programs of the Debian packages libnbd-bin, qemu-utils, fio, fuse3 and e2fsprogs. */
const programs = ['nbdinfo', 'nbdcopy', 'nbdfuse', 'qemu-img', 'qemu-io', 'fio', 'fusermount3', 'mke2fs', 'e2fsck'];
const folders = (process.env.PATH ?? '').split(':');
const missing = programs.filter((program) => !folders.some((folder) => existsSync(join(folder, program))));
const skip =
  missing.length > 0 &&
  `${missing.join(', ')} not installed (apt-get install libnbd-bin qemu-utils fio fuse3 e2fsprogs)`;
/** Longest run of a program, in milliseconds. A busy machine copies a GiB in less. */
const limitMs = 120_000;
const mib = 1_024 ** 2;

const execute = promisify(execFile);
/** Runs a program. @returns what it printed @throws Error with what it printed on the error stream, if its status is not 0 */
const run = async (program: string, ...args: readonly string[]): Promise<string> =>
  (await execute(program, args, { timeout: limitMs, maxBuffer: 16 * mib })).stdout;

let folder = '';
let cloud: TestCloud;
let world: World;
let uri = '';
/** A file for the file systems. */
const fileOf = (n: number): string => join(folder, 'tree', `file-${n}`);

before(async () => {
  if (skip !== false) return;
  folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  mkdirSync(join(folder, 'tree'));
  for (let n = 0; n < 64; n += 1) writeFileSync(fileOf(n), Buffer.alloc(256 * 1_024, `${n} of an image `));
  const socket = join(folder, 'disk.sock');
  cloud = await testCloud({ NBD_LISTEN: `unix:${socket}` });
  const { clients } = cloud;
  world = await makeWorld(clients, []);
  const { name } = await clients.disks.createDisk({
    parent: world.group,
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    diskId: 'd',
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: world.set },
  });
  const { accessToken } = await clients.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 3_600 });
  uri = `nbd+unix:///${exportNameOf(name, accessToken)}?socket=${socket}`;
});
after(async () => {
  if (skip !== false) return;
  await cloud.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Creates a key version, assigns it to the set, and waits until only it wraps the disk's DEK. */
const rotate = async (): Promise<void> => {
  const { keyVault, sets } = cloud.clients;
  const key = world.keyVersion.replace(/\/versions\/[^/]+$/, '');
  const { name: version, keyUrl } = await keyVault.rotateKey({ name: key, requestId: randomUUID() });
  await sets.assignKey({ name: world.set, keyUrl });
  await until('the disks are under the new version', async () => {
    const { activeKey, previousKeys } = await sets.getDiskEncryptionSet({ name: world.set });
    return activeKey?.keyVersion === version && previousKeys.length === 0;
  });
};

/** Runs the work while the key rotates. */
const whileRotating = async <T>(work: () => Promise<T>): Promise<T> => {
  const [done] = await Promise.all([work(), rotate()]);
  return done;
};

test('CMK-80: nbdinfo describes an encrypted disk while its key rotates', { skip }, async () => {
  const { exports } = JSON.parse(await whileRotating(() => run('nbdinfo', '--json', uri)));
  const [found] = exports;
  assert.equal(found['export-size'], 1_024 * mib);
  assert.deepEqual(
    [found.is_read_only, found.can_flush, found.can_fua, found.can_trim, found.can_zero, found.can_multi_conn],
    [false, true, true, true, true, true],
  );
  assert.deepEqual([found.block_size_minimum, found.block_size_preferred], [512, 4_096]);
  assert.ok(found.contexts.includes('base:allocation'), JSON.stringify(found.contexts));
});

test('CMK-80: nbdcopy and qemu-img copy an image to a disk and back while its key rotates', { skip }, async () => {
  const [image, back, qcow2] = ['image.raw', 'back.raw', 'back.qcow2'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(image, '');
  truncateSync(image, 1_024 * mib);
  await run('mke2fs', '-q', '-t', 'ext4', '-F', '-d', join(folder, 'tree'), image);
  await whileRotating(async () => {
    await run('nbdcopy', image, uri);
    await run('nbdcopy', uri, back);
    await run('cmp', image, back);
    await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri);
    await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, qcow2);
    await run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', qcow2, image);
  });
  await run('e2fsck', '-f', '-n', back);
});

test('CMK-80: qemu-io reads the patterns that it wrote, in whole and part sectors, while the key rotates', {
  skip,
}, async () => {
  const ranges = [
    [64 * 1_024, 4_096],
    [511, 1_026],
    [8_191, 4_098],
    [3 * mib - 7, mib],
    [1_024 * mib - 4_096, 4_096],
  ] as const;
  const commands = ranges.flatMap(([offset, length], n) => [`write -P ${n + 1} ${offset} ${length}`]);
  const checks = ranges.map(([offset, length], n) => `read -P ${n + 1} ${offset} ${length}`);
  const all = [...commands, 'flush', ...checks, 'write -z 8M 1M', 'read -P 0 8M 1M', 'discard 3M 64k', 'flush'];
  const printed = await whileRotating(() => run('qemu-io', '-f', 'raw', ...all.flatMap((one) => ['-c', one]), uri));
  assert.doesNotMatch(printed, /failed|error/i);
  assert.equal(printed.match(/^read \d+\/\d+ bytes/gm)?.length, ranges.length + 1, printed);
});

test('CMK-80: fio verifies every block that it wrote at random places while the key rotates', { skip }, async () => {
  const printed = await whileRotating(() =>
    run(
      'fio',
      ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bsrange=512-64k'],
      ...[
        '--size=64m',
        '--iodepth=16',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--do_verify=1',
        '--fsync=64',
        '--verify_state_save=0',
      ],
      ...['--randseed=7', '--output-format=json'],
    ),
  );
  // The output starts with a line about the connection.
  const { jobs } = JSON.parse(printed.slice(printed.indexOf('{')));
  assert.equal(jobs[0].error, 0);
  assert.ok(jobs[0].read.total_ios > 0, 'blocks were verified');
});

test('CMK-80: a file system is made, filled and checked through a mount while the key rotates', { skip }, async () => {
  const mount = join(folder, 'mount');
  const device = join(mount, 'disk');
  mkdirSync(mount);
  writeFileSync(device, '');
  const nbdfuse = spawn('nbdfuse', [device, uri], { stdio: 'ignore' });
  const ended = new Promise((resolve) => nbdfuse.once('exit', resolve));
  try {
    await until(
      'the disk is mounted',
      async () => (await run('stat', '-c', '%s', device)).trim() === String(1_024 * mib),
    );
    await whileRotating(async () => {
      await run('mke2fs', '-q', '-t', 'ext4', '-F', device);
      for (let n = 0; n < 8; n += 1) {
        await run('debugfs', '-w', '-R', `write ${fileOf(n)} file-${n}`, device);
      }
      await run('e2fsck', '-f', '-n', device);
    });
    for (let n = 0; n < 8; n += 1) {
      const copy = join(folder, `copy-${n}`);
      await run('debugfs', '-R', `dump file-${n} ${copy}`, device);
      await run('cmp', copy, fileOf(n));
    }
  } finally {
    await run('fusermount3', '-u', device);
    await ended;
  }
});
