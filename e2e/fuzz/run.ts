import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Crash } from '@interlock/local/restartable.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { fuzz } from './fuzz.ts';
import { runGatewayFuzz } from './gateway/run.ts';
import { type MemorySample, memoryProblems } from './memory.ts';
import { runNbdFuzz } from './nbd/run.ts';

const usage = 'npm run fuzz -- [--seconds N] [--seed N] [--only TEXT] [--gateway [--requests N]] [--nbd]';

const help = `${usage}

Starts a local cloud and calls every RPC of every service with made-up messages: well-formed ones and malformed ones, as the
administrator, as a principal without a role, as the services, and without a token.
  --seconds N   how long (60 by default)
  --seed N      a whole number that decides the messages; the one of a run is in its last line
  --only TEXT   only the RPCs that have this in their path, for example DiskService/CreateDisk
  --gateway     sends HTTPS requests to the gateway instead, of the shapes of its route table; --only takes routes by their path
  --requests N  with --gateway: so many at most (1000000 by default)
  --nbd         attacks the block devices of the disk service instead, half of the time over TLS and half on a Unix socket

It fails if a service crashes, if a well-formed message is answered with INTERNAL or UNKNOWN, or if the resident memory of a
service is above its limit or keeps growing. With --gateway it fails for a status 500, an error without its body, an answer that does
not come, another client that waits more than two seconds, a crash, too much memory, and descriptors that stay open. With --nbd it
fails if a client of another disk waits more than two seconds or reads wrong bytes, for a crash, too much memory, and descriptors
that stay open. The last line is JSON.`;

/** Samples of memory in the last line. */
const SHOWN_SAMPLES = 20;

runCommand(async (scope) => {
  const { values } = readArguments();
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const seconds = wholeNumber('--seconds', values.seconds, 86_400);
  const seed = values.seed === undefined ? randomInt(2 ** 31) : wholeNumber('--seed', values.seed, 2 ** 32 - 1);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-fuzz-'));
  const data = openDataFolder(folder);
  scope.defer('its files', () => {
    removeServer(data);
    rmSync(folder, { recursive: true, force: true });
  });
  // Uses own servers, because data in given ones belongs to others.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  const crashes: string[] = [];
  const onCrash = ({ name, message, restart }: Crash): void => {
    crashes.push(name);
    console.error(message);
    restart().catch((error: unknown) => console.error(error));
  };
  console.log(`seed ${seed}, ${seconds} s`);
  if (values.nbd) {
    const run = await runNbdFuzz({ data, env, scope, seconds, seed, only: values.only, onCrash });
    const problems = Object.entries(run).flatMap(([over, found]) =>
      found.problems.map((problem) => `${over}: ${problem}`),
    );
    for (const problem of problems) console.log(problem);
    const exitCode = problems.length + crashes.length === 0 ? 0 : 1;
    return { exitCode, lastLine: JSON.stringify({ seed, seconds, ...run, servicesCrashed: crashes }) };
  }
  const cloud = await startLocalCloud({ data, env, within: scope, onCrash });
  if (values.gateway) {
    const requests = wholeNumber('--requests', values.requests, 1e9);
    const run = await runGatewayFuzz({ cloud, data, scope, requests, seconds, seed, only: values.only });
    for (const problem of run.problems) console.log(problem);
    const isGood = run.problems.length === 0 && run.crashes + crashes.length === 0;
    return { exitCode: isGood ? 0 : 1, lastLine: JSON.stringify({ seed, seconds, ...run, servicesCrashed: crashes }) };
  }
  const findings = await fuzz({ cloud, data, seconds, seed, only: values.only, print: console.log });
  const problems = memoryProblems(findings.memory);
  const { memory, ...found } = findings;
  const lastLine = JSON.stringify({
    seed,
    seconds,
    ...found,
    crashes,
    memoryProblems: problems,
    memory: thinned(memory),
  });
  const failures = [
    ...crashes.map((name) => `${name} crashed`),
    ...found.internals.map(({ path, details, call }) => `${path} failed with "${details}" (call ${call})`),
    ...problems,
  ];
  // Together at the end, because the refusals above are many lines.
  for (const failure of failures) console.log(`failed: ${failure}`);
  return { exitCode: failures.length === 0 ? 0 : 1, lastLine };
});

/** Reduces samples to the number that is shown, evenly spaced, including the last. */
function thinned(samples: readonly MemorySample[]): readonly MemorySample[] {
  const step = Math.ceil(samples.length / SHOWN_SAMPLES);
  return samples.filter((_, n) => (samples.length - 1 - n) % step === 0);
}

/** @throws LauncherError that names the invalid option */
function wholeNumber(flag: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d{1,10}$/.test(text) && value <= max) return value;
  throw new LauncherError(`${flag} is "${text}"; it must be a whole number up to ${max}.`);
}

function readArguments() {
  try {
    const text = { type: 'string' } as const;
    const help = { type: 'boolean', short: 'h', default: false } as const;
    const gateway = { type: 'boolean', default: false } as const;
    const requests = { ...text, default: '1000000' } as const;
    return parseArgs({
      options: { seconds: { ...text, default: '60' }, seed: text, only: text, gateway, nbd: gateway, requests, help },
    });
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`, { cause: error });
  }
}
