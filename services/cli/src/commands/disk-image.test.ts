import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openChannel } from '@interlock/rpc';
import { systemClock } from '@interlock/runtime';
import { ImageProblem, UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-images-'));
const image = join(folder, 'image.qcow2');
const path = process.env.PATH ?? '';

before(() => {
  writeFileSync(image, 'an image');
  // Replaces qemu-img: it records its arguments, and reports a size of 4,096 bytes for each image.
  const program = `#!/bin/sh\necho "$*" >> ${folder}/calls\n[ "$1" = info ] && echo '{"virtual-size": 4096}'\nfor last; do :; done\ncase $last in *.raw) echo content > "$last" ;; esac\n`;
  writeFileSync(join(folder, 'qemu-img'), program, { mode: 0o755 });
  process.env.PATH = `${folder}:${path}`;
});
after(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true, force: true });
});

const programWith = (access: Readonly<Record<string, string>>) =>
  testProgram(
    { BeginAccess: { accessToken: 'secret', dataAddress: 'host:1', sizeBytes: '8192', ...access } },
    { channel: openChannel({ address: 'host:1', tls: 'plaintext' }), clock: systemClock },
  );
const served = { nbdAddress: 'unix:/run/disk.sock' };
const device =
  'driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=/run/disk.sock,file.export=subscriptions/local/resourceGroups/g/disks/d1@secret';
const calls = (): readonly string[] => {
  const text = readFileSync(join(folder, 'calls'), 'utf8');
  writeFileSync(join(folder, 'calls'), '');
  return text.trim().split('\n');
};

test("import and export convert an image over the disk host's socket in the format of its name, then end access", async () => {
  const { run, sent, asides } = programWith(served);
  await run('disk', 'import', image, 'd1');
  await run('disk', 'export', 'd1', join(folder, 'copy.raw'));
  assert.deepEqual(calls(), [
    `info -f qcow2 --output=json ${image}`,
    `convert -f qcow2 --target-image-opts -n -t writeback ${image} ${device}`,
    `convert --image-opts -O raw ${device} ${folder}/copy.raw`,
  ]);
  assert.deepEqual(
    sent.map(({ method, request }) => [method, request.accessLevel]),
    [
      ...[
        ['GetDisk', undefined],
        ['BeginAccess', 'WRITE'],
        ['EndAccess', undefined],
      ],
      ...[
        ['GetDisk', undefined],
        ['BeginAccess', 'READ'],
        ['EndAccess', undefined],
      ],
    ],
  );
  assert.match(asides.join(), /4096 bytes imported and flushed/);
});

test('importing a missing file and exporting to an existing file are refused before access begins', async () => {
  const { run, sent } = programWith(served);
  await assert.rejects(run('disk', 'import', join(folder, 'none.raw'), 'd1'), UsageError);
  await assert.rejects(run('disk', 'export', 'd1', image), UsageError);
  assert.deepEqual(sent, []);
});

test('an import is refused if the image is larger than the disk, or the disk has no local socket', async () => {
  await assert.rejects(
    programWith({ ...served, sizeBytes: '4095' }).run('disk', 'import', image, 'd1'),
    /grow the disk/,
  );
  const elsewhere = programWith({ nbdAddress: 'tls://host:1' });
  await assert.rejects(elsewhere.run('disk', 'import', image, 'd1'), ImageProblem);
  assert.equal(elsewhere.sent.at(-1)?.method, 'EndAccess');
});

test('disk create --from-image imports once the disk exists', async () => {
  const disk = { name: 'subscriptions/local/resourceGroups/g/disks/d1', provisioningState: 'SUCCEEDED' };
  const { run } = testProgram(
    {
      ...{ CreateDisk: disk, GetDisk: disk },
      BeginAccess: { accessToken: 'secret', dataAddress: 'host:1', sizeBytes: '8192', ...served },
    },
    { channel: openChannel({ address: 'host:1', tls: 'plaintext' }), clock: systemClock },
  );
  calls();
  await run('disk', 'create', 'd1', '--location', 'l', '--sku', 'standard-ssd', '--size', '1', '--from-image', image);
  assert.match(calls().at(-1) ?? '', /^convert .*disks\/d1@secret$/);
});
