import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type History, openHistory } from '@interlock/lab/judge/journal/history';
import { run } from '../../services/cli/src/commands/run.ts';
import { openTerminal } from '../../services/cli/src/output/terminal.ts';
import { livelyOn } from '../cloud/returned.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { location, makeWorld, type World } from '../cloud/world.ts';

// Some two minutes on real processes. services/compute/src/guest/disk-io.test.ts proves the repetition of reads and writes without them.
const MIB = 1024 ** 2;
/** Kills until one meets reads and writes that are under way; mostly the first does. */
const killsMax = 20;

let cloud: TestCloud;
let world: World;
let history: () => History;
before(async () => {
  // Long enough for a restart on a busy machine: how long it takes decides nothing here.
  cloud = await testCloud({ GUEST_IO_TIMEOUT_MS: '240000' });
  const disks = ['PREMIUM_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD'] as const;
  const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 200, ioSizeBytes: 4_096 } as const;
  world = await makeWorld(cloud.clients, [disks, disks], { workload });
  history = openHistory(join(cloud.folder, 'services', 'compute', 'guests'), world.machines);
});
after(() => cloud?.stop());

const killAndRestart = async (): Promise<void> => {
  await cloud.cloud.kill('disk');
  await cloud.cloud.restart('disk');
};

test('G5: reads and writes under way when the disk host is killed wait for it, and none fails', async () => {
  const disks = world.machines.flatMap((_, vm) => [0, 1, 2, 3].map((n) => `${world.group}/disks/vm${vm}-d${n}`));
  const met = new Set<string>();
  for (let kills = 0; !(met.has('read') && met.has('write')); kills += 1) {
    assert.ok(kills < killsMax, `${killsMax} kills met no read and write under way`);
    await livelyOn(history, Date.now(), disks);
    const before = Date.now();
    await cloud.cloud.kill('disk');
    const killed = Date.now();
    await cloud.cloud.restart('disk');
    await livelyOn(history, Date.now(), disks);
    for (const { op, invokedAt, completedAt } of history()) if (invokedAt < before && completedAt > killed) met.add(op);
  }
  assert.deepEqual(
    history().filter(({ ok }) => !ok),
    [],
  );
});

/** Runs a command of the command line. @param onBytes receives what it writes to standard output */
const play = async (
  args: readonly string[],
  input: AsyncIterable<Uint8Array> | undefined = undefined,
  onBytes: (bytes: Uint8Array) => Promise<void> = () => assert.fail('it writes no bytes'),
): Promise<void> => {
  const said: string[] = [];
  const terminal = {
    ...openTerminal(),
    isOutTerminal: false,
    out: (text: string) => void said.push(text),
    err: (text: string) => void said.push(text),
    in: () => input ?? assert.fail('it reads no input'),
    outBytes: onBytes,
  };
  const env = { INTERLOCK_DATA: cloud.folder, INTERLOCK_GROUP: world.group.split('/').at(-1) ?? '' };
  const exitCode = await run([...args, '--timeout', '4m'], env, terminal);
  assert.equal(exitCode, 0, `interlock ${args.join(' ')}\n${said.join('\n')}`);
};

const createDisk = (name: string): Promise<void> =>
  play(['disk', 'create', name, '--location', location, '--sku', 'premium-ssd', '--size', '1', '--wait']);

test('G5: disk write and disk read continue when the disk host is killed in the middle, with all bytes', async () => {
  await createDisk('direct');
  const content = randomBytes(40 * MIB);
  const input = async function* () {
    for (let at = 0; at < content.length; at += MIB) {
      // Within the second portion: its call is open.
      if (at === 20 * MIB) await killAndRestart();
      yield content.subarray(at, at + MIB);
    }
  };
  await play(['disk', 'write', 'direct', '--flush'], input());
  const pieces: Uint8Array[] = [];
  await play(['disk', 'read', 'direct', '--length', String(content.length)], undefined, async (bytes) => {
    pieces.push(bytes);
    if (pieces.length === 2) await killAndRestart();
  });
  assert.ok(Buffer.concat(pieces).equals(content));
});

test('commands about disks, snapshots and machines wait for a disk service that is killed while they run', async () => {
  const [machine = ''] = world.machines.map((name) => name.split('/').at(-1) ?? '');
  for (const round of [0, 1, 2]) {
    const commands = [
      createDisk(`during-${round}`),
      play(['snapshot', 'create', `s${round}`, '--disk', 'direct', '--wait']),
      play(['vm', round % 2 === 0 ? 'deallocate' : 'start', machine, '--wait']),
    ];
    // Each round kills at another point of the work.
    await new Promise((resolve) => setTimeout(resolve, round * 60));
    await Promise.all([killAndRestart(), ...commands]);
  }
});
