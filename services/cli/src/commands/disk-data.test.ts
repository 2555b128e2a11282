import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { serveInProcess, service } from '@interlock/rpc';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type Metadata, ServerError, Status } from 'nice-grpc-common';
import { openTerminal } from '../output/terminal.ts';
import { OutputProblem, UsageError } from '../problems.ts';
import type { Session } from '../session/session.ts';
import { sleepingClock, testProgram } from '../session/test-session.ts';
import { writeDisk } from './disk-data.ts';

const MIB = 1024 * 1024;

/** A disk whose access token is `secret`. */
function dataServer(content: Buffer, { cutOffEach = Number.POSITIVE_INFINITY } = {}) {
  const flushed: string[] = [];
  let messages = 0;
  /** Ends the call as a host does that is killed. */
  const step = () => {
    messages += 1;
    if (messages % cutOffEach === 0) throw new ServerError(Status.UNAVAILABLE, 'Connection dropped');
  };
  const check = (metadata: Metadata) => {
    if (metadata.get('x-interlock-disk-access') === 'secret') return;
    throw new Rejection('UNAUTHENTICATED', 'DISK_ACCESS_TOKEN_INVALID', 'no');
  };
  const data = service({
    definition: DiskDataServiceDefinition,
    implementation: {
      async *read({ offsetBytes, lengthBytes }, { metadata }) {
        check(metadata);
        const range = content.subarray(offsetBytes, offsetBytes + lengthBytes);
        for (let at = 0; at < range.length; at += 7) {
          step();
          yield { data: range.subarray(at, at + 7) };
        }
      },
      write: async (pieces, { metadata }) => {
        check(metadata);
        let at = 0;
        let writtenBytes = 0;
        for await (const { header, data: piece } of pieces) {
          step();
          if (header !== undefined) at = header.offsetBytes;
          if (at + piece.length > content.length)
            throw new Rejection('OUT_OF_RANGE', 'BEYOND_END_OF_DISK', 'the disk ends before');
          at += Buffer.from(piece).copy(content, at);
          writtenBytes += piece.length;
        }
        return { writtenBytes };
      },
      flush: async ({ name }, { metadata }) => {
        check(metadata);
        step();
        flushed.push(name);
        return {};
      },
    },
    authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
  });
  const server = serveInProcess({
    name: 'disk-host',
    services: [data],
    authenticate: async () => {
      throw new Error('this test uses no token');
    },
    authorize: async () => ({ allowed: false, principalActive: false }),
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('test'),
    log: logger({ service: 'test', clock: systemClock, write: () => undefined }),
  });
  return { channel: server.channel, flushed };
}

const access = { accessToken: 'secret', dataAddress: 'disk-host', sizeBytes: '64' };
const disk = 'subscriptions/local/resourceGroups/g/disks/d1';

test('disk read returns what disk write wrote, and each command ends its access', async () => {
  const content = Buffer.alloc(64);
  const { channel, flushed } = dataServer(content);
  const { run, sent, bytes, written } = testProgram(
    { BeginAccess: access },
    { channel, clock: systemClock, files: { '-': 'sixteen bytes ..' } },
  );
  await run('disk', 'write', 'd1', '--offset', '8', '--flush');
  assert.equal(content.subarray(8, 24).toString(), 'sixteen bytes ..');
  assert.deepEqual(flushed, [disk]);
  await run('disk', 'read', 'd1', '--offset', '8', '--length', '16');
  assert.equal(Buffer.concat(bytes).toString(), 'sixteen bytes ..');
  await run('disk', 'read', 'd1', '--offset', '8', '--output', 'rest');
  assert.equal(written.get('rest')?.length, 56);
  assert.deepEqual(
    sent.map(({ method, request }) => [method, request.accessLevel]),
    [
      ['GetDisk', undefined],
      ['BeginAccess', 'WRITE'],
      ['EndAccess', undefined],
      ['GetDisk', undefined],
      ['BeginAccess', 'READ'],
      ['EndAccess', undefined],
      ['GetDisk', undefined],
      ['BeginAccess', 'READ'],
      ['EndAccess', undefined],
    ],
  );
});

test('a write that fails midway says how much of it is acknowledged', async () => {
  const content = Buffer.alloc(40 * MIB);
  const { channel, flushed } = dataServer(content);
  const written = async (size: number, ...flags: readonly string[]) => {
    const input = 'x'.repeat(size);
    const { run, asides } = testProgram(
      { BeginAccess: { ...access, sizeBytes: String(content.length) } },
      { channel, clock: systemClock, files: { '-': input } },
    );
    await run('disk', 'write', 'd1', ...flags);
    return asides.join();
  };
  // A portion is 16 MiB: two portions fit, the third does not.
  const failure = await written(41 * MIB, '--flush').then(
    () => assert.fail('the disk is smaller'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof Rejection && failure.reason === 'BEYOND_END_OF_DISK');
  assert.equal(failure.metadata.acknowledged_bytes, String(32 * MIB));
  assert.match(
    failure.message,
    /^the disk ends before\. 33554432 bytes from offset 0 are written and flushed; each sector in bytes 33554432 to 41943039 holds/,
  );
  assert.ok(content.subarray(0, 32 * MIB).every((byte) => byte === 120));
  assert.equal(flushed.length, 2, 'each portion is flushed: one that is not can be sent again');
  await assert.rejects(written(2, '--offset', String(40 * MIB - 1)), {
    metadata: { acknowledged_bytes: '0' },
    message: /acknowledged, not flushed; each sector in bytes 41943039 to 41943039 holds/,
  });
  await assert.rejects(written(2, '--offset', String(40 * MIB)), UsageError);
  assert.equal(await written(40 * MIB, '--flush'), `${40 * MIB} bytes written and flushed`);
});

test('a write and a read that the disk host cuts off are continued once it is back', async () => {
  const content = Buffer.alloc(40 * MIB);
  const { channel } = dataServer(content, { cutOffEach: 25 });
  const input = Buffer.alloc(36 * MIB, 'interlock');
  const { run, asides, bytes } = testProgram(
    { BeginAccess: { ...access, sizeBytes: String(content.length) } },
    { channel, files: { '-': input.toString('latin1') } },
  );
  await run('disk', 'write', 'd1', '--flush');
  assert.equal(asides.join(), `${36 * MIB} bytes written and flushed`);
  assert.ok(content.subarray(0, input.length).equals(input));
  assert.ok(content.subarray(input.length).every((byte) => byte === 0));
  await run('disk', 'read', 'd1', '--length', '60');
  assert.ok(Buffer.concat(bytes).equals(input.subarray(0, 60)));
  await run('disk', 'flush', 'd1');
});

test('a command gives up a disk host that stays away, after a minute or --timeout', async () => {
  const { channel } = dataServer(Buffer.alloc(64), { cutOffEach: 1 });
  for (const [flags, limitMs] of [
    [[], 61_000],
    [['--timeout', '5s'], 6_000],
  ] as const) {
    const clock = sleepingClock();
    const { run } = testProgram({ BeginAccess: access }, { channel, clock, files: { '-': 'x' } });
    for (const verb of ['read', 'write', 'flush']) {
      const startMs = clock.monotonicMs();
      await assert.rejects(run('disk', verb, 'd1', ...flags), { code: 'UNAVAILABLE' });
      assert.ok(clock.monotonicMs() - startMs <= limitMs, `${verb} ${flags.join(' ')}`);
    }
  }
});

test('a write and a flush print their trace; a read does not', async () => {
  const { channel } = dataServer(Buffer.alloc(64));
  const trace = 'ab'.repeat(16);
  const options = { channel, clock: systemClock, files: { '-': 'four' }, trace };
  const { run, asides, lines } = testProgram({ BeginAccess: access }, options);
  await run('disk', 'write', 'd1', '--flush');
  await run('disk', 'flush', 'd1');
  await run('disk', 'read', 'd1', '--length', '4');
  assert.deepEqual(asides, ['4 bytes written and flushed', `trace: ${trace}`, 'flushed', `trace: ${trace}`]);
  await run('disk', 'write', 'd1', '--json');
  await run('disk', 'flush', 'd1', '--json');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [
      { writtenBytes: '4', flushed: false, trace },
      { flushed: true, trace },
    ],
  );
});

test('an existing direct access stays, unless --end-other-access is given', async () => {
  const { channel } = dataServer(Buffer.alloc(64));
  const answers = { GetDisk: { name: disk, state: 'ACTIVE_ACCESS' }, BeginAccess: access };
  const { run, sent } = testProgram(answers, { channel, clock: systemClock, files: { '-': 'four' } });
  const methods = () => sent.splice(0).map(({ method }) => method);
  for (const command of ['read', 'write', 'flush']) {
    await assert.rejects(run('disk', command, 'd1'), {
      reason: 'DISK_IN_ACTIVE_ACCESS',
      help: /interlock disk end-access d1, or repeat the command with --end-other-access$/,
    });
    assert.deepEqual(methods(), ['GetDisk'], command);
    await run('disk', command, 'd1', '--end-other-access');
    assert.deepEqual(methods(), ['BeginAccess', 'EndAccess'], command);
  }
});

test('access ends also when the transfer fails', async () => {
  const { channel } = dataServer(Buffer.alloc(64));
  const { run, sent } = testProgram(
    { BeginAccess: { ...access, accessToken: 'wrong' } },
    { channel, clock: systemClock },
  );
  await assert.rejects(run('disk', 'read', 'd1', '--length', '4'), /UNAUTHENTICATED|no/);
  const { method, request } = sent.at(-1) ?? {};
  assert.deepEqual([method, request], ['EndAccess', { name: disk, accessToken: 'wrong' }], 'its own, and no other');
});

test('access ends also when standard output cannot be written, which is the error that is reported', async () => {
  const { channel } = dataServer(Buffer.alloc(64));
  const full = new OutputProblem('standard output cannot be written: ENOSPC', 'make room');
  const terminal = { outBytes: () => Promise.reject(full) };
  const { run, sent } = testProgram({ BeginAccess: access }, { channel, clock: systemClock, terminal });
  await assert.rejects(run('disk', 'read', 'd1'), full);
  assert.deepEqual(sent.at(-1)?.request, { name: disk, accessToken: 'secret' });
  assert.equal(sent.at(-1)?.method, 'EndAccess');
});

test('disk read to a terminal is refused before access begins, unless --output - is given', async () => {
  const { channel } = dataServer(Buffer.from('plain text'));
  const options = { channel, clock: systemClock, terminal: { isOutTerminal: true } };
  const { run, sent } = testProgram({ BeginAccess: access }, options);
  await assert.rejects(
    run('disk', 'read', 'd1'),
    (error) => error instanceof UsageError && /--output -/.test(error.message),
  );
  assert.deepEqual(sent, []);
  const wanted = testProgram({ BeginAccess: { ...access, sizeBytes: '10' } }, options);
  await wanted.run('disk', 'read', 'd1', '--output', '-');
  assert.equal(Buffer.concat(wanted.bytes).toString(), 'plain text');
});

test('access ends also when a read is interrupted', { timeout: 60_000 }, async (t) => {
  const session = JSON.stringify(new URL('../session/test-session.ts', import.meta.url).href);
  // A disk that never returns data.
  const script = `
    const { testProgram } = await import(${session});
    const read = async function* () {
      console.log('reads');
      await new Promise(() => setInterval(() => undefined, 1_000));
    };
    const channel = { peer: 'disk', client: () => ({ read }), close: () => undefined };
    const { run, sent } = testProgram({ BeginAccess: ${JSON.stringify(access)} }, { channel });
    process.on('exit', () => console.log(JSON.stringify(sent.slice(1).map(({ method, request }) => [method, request.accessToken]))));
    await run('disk', 'read', 'd1');`;
  const command = spawn(process.execPath, ['--input-type=module', '--eval', script]);
  t.after(() => command.kill('SIGKILL'));
  const said: string[] = [];
  command.stdout.on('data', (piece: Buffer) => {
    said.push(String(piece));
    if (said.length === 1) command.kill('SIGINT');
  });
  const [code] = await once(command, 'close');
  assert.equal(code, 130);
  assert.equal(said.join(''), 'reads\n[["BeginAccess",null],["EndAccess","secret"]]\n');
});

test('disk write reads a file that is larger than any buffer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-image-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const input = join(folder, 'image');
  writeFileSync(input, '');
  truncateSync(input, 3 * 1024 * MIB);
  const { channel } = dataServer(Buffer.alloc(64));
  const sessions: Session[] = [];
  const options = { channel, clock: systemClock, onProbe: (made: Session) => void sessions.push(made) };
  await testProgram({ BeginAccess: access }, options).run('probe', 'services');
  const [session = assert.fail('no session was opened')] = sessions;
  const requested = { disk, endsOther: true, offset: 0, input, isFlushed: false };
  await assert.rejects(writeDisk(requested, { ...session, terminal: openTerminal() }), {
    reason: 'BEYOND_END_OF_DISK',
  });
  const missing = { ...requested, input: join(folder, 'none') };
  await assert.rejects(writeDisk(missing, { ...session, terminal: openTerminal() }), UsageError);
});
