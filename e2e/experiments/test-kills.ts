import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setPermissionsOnWire } from '@interlock/access/permissions';
import { outstandingIn, readJournal } from '@interlock/lab';
import { controlAt } from '@interlock/local/control/control-client.ts';
import { seededRandom } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { type OwnCloud, ownCloud } from '../cloud/test-cloud.ts';
import { makeWorld, type World } from '../cloud/world.ts';

/** Takes the key away in two ways and disturbs three parts. Every step is open at some moment of its 4 s. */
const experimentOf = (group: string): string => `title: "a runner that is killed"
seed: 1
estate: { existing: { group: ${group} } }
timeline:
  - { at: 0s, pause: compute, for: 2s }
  - { at: 200ms, disable-key: k1, as: disabled }
  - { at: 400ms, remove-permission: k1, permission: unwrap, as: permission }
  - { at: 600ms, kill: nats, for: 2s }
  - { at: 800ms, pause: key-vault, for: 1s }
  - { at: 3s, give-back: permission }
  - { at: 3500ms, give-back: disabled, start: true }
expect: [bytesLost == 0]
`;

/** Milliseconds of the timeline in which the runner is killed. */
const timelineMs = 4_000;
/** How long the runner may take to start the timeline, and a recovery to end. In milliseconds. */
const limitMs = 240_000;

/** A cloud that keeps running while runners are killed. */
export interface Victim {
  /** Data folder of its launcher. */
  readonly data: string;
  readonly clients: Clients;
  readonly world: World;
}

/** Creates the machine whose key the experiment takes away. */
export const openVictim = async (data: string, clients: Clients): Promise<Victim> => ({
  data,
  clients,
  world: await makeWorld(clients, [['PREMIUM_SSD']]),
});

/** The result of a kill. */
export interface Killed {
  readonly seed: number;
  /** After the start of the timeline, in milliseconds. */
  readonly atMs: number;
  /** Steps that the runner left open. */
  readonly left: readonly string[];
  /** What differs from before; empty if everything was restored. */
  readonly wrong: readonly string[];
}

/** Runs the experiment, kills its runner at a moment that the seed decides, recovers twice, and checks keys and processes. */
export const killAndRecover = async (victim: Victim, seed: number): Promise<Killed> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-killed-'));
  try {
    const file = join(folder, 'killed.experiment.yaml');
    writeFileSync(file, experimentOf(victim.world.group.split('/').at(-1) ?? ''));
    const evidence = join(folder, 'evidence');
    const atMs = Math.round(seededRandom(seed).fraction() * timelineMs);
    await killedRun(['run', file, '--target=existing', `--keep=${evidence}`], victim.data, atMs);
    const left = outstandingIn(readJournal(evidence)).map(({ step }) => step);
    const first = await output(start(['recover', evidence], victim.data));
    const second = await output(start(['recover', evidence], victim.data));
    const wrong = await differences(victim);
    if (first.status !== 0) wrong.push(`recover ended with ${first.status}: ${first.text}`);
    for (const step of left) if (!first.text.includes(`undone: ${step} `)) wrong.push(`recover does not name ${step}`);
    if (second.text.trim() !== 'nothing is left to undo') wrong.push(`the second recovery said: ${second.text}`);
    return { seed, atMs, left, wrong };
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const start = (args: readonly string[], data: string): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    env: { ...process.env, INTERLOCK_DATA: data },
    stdio: ['ignore', 'pipe', 'pipe'],
  });

const output = async (child: ChildProcess): Promise<{ readonly status: number | null; readonly text: string }> => {
  let text = '';
  child.stdout?.on('data', (data) => (text += String(data)));
  child.stderr?.on('data', (data) => (text += String(data)));
  const patience = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(patience);
  return { status, text };
};

/** @throws Error if the timeline does not start */
const killedRun = async (args: readonly string[], data: string, atMs: number): Promise<void> => {
  const child = start(args, data);
  let text = '';
  const started = new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (piece) => {
      text += String(piece);
      if (text.includes('the timeline starts')) resolve();
    });
    child.stderr?.on('data', (piece) => (text += String(piece)));
    child.once('close', () => reject(new Error(`the runner ended before its timeline: ${text}`)));
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await started;
  await sleep(atMs);
  child.kill('SIGKILL');
  await ended;
};

/** What of the cloud differs from before the experiment. */
const differences = async ({ data, clients, world }: Victim): Promise<string[]> => {
  const { control } = JSON.parse(readFileSync(join(data, 'cloud.json'), 'utf8'));
  const processes = await controlAt(control).processes();
  const wrong = processes.flatMap(({ name, state }) => (state === 'running' ? [] : [`${name} is ${state}`]));
  const version = await clients.keyVault.getKeyVersion({ name: world.keyVersion });
  if (!version.enabled) wrong.push(`${world.keyVersion} is disabled`);
  const { accessPolicies } = await clients.keyVault.getVault({ name: world.vault });
  const granted = accessPolicies.find(({ principal }) => principal === world.identity)?.keyPermissions ?? [];
  const missing = setPermissionsOnWire.filter((one) => !granted.some((has) => has === one));
  if (missing.length > 0) wrong.push(`${world.identity} may not ${missing.join(', ')}`);
  return wrong;
};

/** One cloud for the test file, and a test for each moment at which a runner is killed. */
export const testKills = (seeds: readonly number[]): void => {
  let own: OwnCloud;
  let victim: Victim;
  before(async () => {
    own = await ownCloud();
    victim = await openVictim(own.folder, own.clients);
  });
  after(() => own?.stop());
  for (const seed of seeds) {
    test(`after a runner is killed (seed ${seed}), recover restores its keys and processes; a second recover does nothing`, async (t) => {
      const { atMs, left, wrong } = await killAndRecover(victim, seed);
      t.diagnostic(`killed ${atMs} ms after the start of the timeline; left ${left.join(', ') || 'nothing'}`);
      assert.deepEqual(wrong, []);
    });
  }
};
