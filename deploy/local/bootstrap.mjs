#!/usr/bin/env node
/**
 * node deploy/local/bootstrap.mjs <file.ts> [argument…]
 *
 * Makes a clone runnable (dependencies with Node 24 among them, code generated from the .proto files), then runs the TypeScript
 * file with Node 24. Plain JavaScript without dependencies, because it must run on any Node from 20 with nothing but npm.
 * When nothing has changed since the last run it only compares two hashes.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const oldestNode = 20;
const packageManager = 'pnpm@12.21.0';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const binaries = join(repository, 'node_modules/.bin');
const node24 = join(binaries, 'node');
const installStamp = join(repository, 'node_modules/.interlock-installed');
const contractsStamp = join(repository, 'libs/contracts/src/.generated-from');

/** A failure that is explained to the user: shown without a stack. */
class BootstrapError extends Error {}

try {
  await main();
} catch (error) {
  console.error(error instanceof BootstrapError ? `\n${error.message}` : error);
  process.exitCode = 1;
}

async function main() {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) throw new BootstrapError('Usage: node deploy/local/bootstrap.mjs <file.ts> [argument…]');
  if (process.platform === 'win32') {
    throw new BootstrapError(
      'Windows is not supported: run this in WSL 2 or on Linux. macOS should work and is not tested.',
    );
  }
  const major = Number(process.versions.node.split('.')[0]);
  if (major < oldestNode) {
    throw new BootstrapError(
      `Node ${oldestNode} or newer is needed to start (it fetches the Node 24 that runs the services); this is ${process.version}, ${process.execPath}.`,
    );
  }
  const entry = resolve(repository, file);
  if (!existsSync(entry)) throw new BootstrapError(`${relative(repository, entry)} does not exist in this version.`);
  if (!isPrepared()) await prepare();
  process.exitCode = await runToEnd(entry, args);
}

function isPrepared() {
  return stampOf(installStamp) === dependenciesHash() && existsSync(node24) && stampOf(contractsStamp) === protoHash();
}

/** Runs under a lock, so that two commands started together do not install into the same folder. The second finds the work done. */
async function prepare() {
  const release = await lock();
  try {
    const dependencies = dependenciesHash();
    if (stampOf(installStamp) !== dependencies || !existsSync(node24)) {
      console.error('Installing dependencies (the first time this takes some 15 s) …');
      // Only errors: under an older Node it warns at length about packages that Node 24 will run.
      const install = ['-y', packageManager, 'install', '--frozen-lockfile', '--loglevel=error'];
      await step(npx(), install, 'Installing the dependencies failed');
      if (!existsSync(node24)) throw new BootstrapError(`The installation has brought no Node 24 (${node24}).`);
      writeFileSync(installStamp, dependencies);
    }
    const protos = protoHash();
    if (stampOf(contractsStamp) !== protos) {
      console.error('Generating the contracts from proto/ …');
      await step(node24, [join(repository, 'proto/generate.mjs')], 'Generating the contracts failed');
      writeFileSync(contractsStamp, protos);
    }
  } finally {
    release();
  }
}

async function lock() {
  const { tryLock } = await import('./lock.mjs');
  const folder = join(repository, '.interlock');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (let announced = false; ; announced = true) {
    const attempt = tryLock(join(folder, 'bootstrap.lock'));
    if (attempt.taken) return attempt.release;
    if (!announced) console.error(`Waiting for process ${attempt.holder.pid}, which is preparing this clone …`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function stampOf(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function dependenciesHash() {
  const hash = createHash('sha256').update(packageManager);
  // Hash every manifest: otherwise an existing installation would not notice a lockfile that no longer matches them;
  // only new clones would.
  const manifests = ['libs', 'services'].flatMap((folder) =>
    readdirSync(join(repository, folder)).map((name) => join(folder, name, 'package.json')),
  );
  const names = [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    'package.json',
    'deploy/kubernetes/package.json',
    'deploy/local/package.json',
    'e2e/package.json',
  ];
  for (const name of [...names, ...manifests.sort()]) {
    if (existsSync(join(repository, name))) hash.update(name).update(readFileSync(join(repository, name)));
  }
  return hash.digest('hex');
}

/** A hash of everything on which generation depends: the sources, and the versions of the generators. */
function protoHash() {
  const hash = createHash('sha256').update(dependenciesHash());
  const folder = join(repository, 'proto');
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.md') && !entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  for (const name of names) hash.update(relative(folder, name)).update('\0').update(readFileSync(name));
  return hash.digest('hex');
}

/** The npx of this Node, otherwise the one on the PATH. */
function npx() {
  const beside = join(dirname(process.execPath), 'npx');
  return existsSync(beside) ? beside : 'npx';
}

/** Runs a command of the preparation. Its output goes to standard error. */
function step(command, args, failure) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: repository,
      // Without CI the package manager may ask before it replaces an older installation.
      env: { ...process.env, CI: 'true', PATH: searchPath() },
      stdio: ['ignore', 2, 2],
    });
    child.once('error', (error) => reject(new BootstrapError(`${failure}: ${error.message}`)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new BootstrapError(`${failure} (${signal ?? `exit code ${code}`}). The reason stands above.`));
    });
  });
}

/**
 * Runs the file with Node 24 and returns its exit code. It also notices, by the end of the channel, when this process is killed.
 */
function runToEnd(entry, args) {
  const data = process.env.INTERLOCK_DATA ? resolve(process.env.INTERLOCK_DATA) : join(repository, '.interlock');
  const child = spawn(node24, [entry, ...args], {
    env: {
      ...process.env,
      PATH: searchPath(),
      INTERLOCK_STARTED_AT: String(Math.round(performance.timeOrigin)),
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(data, 'compile-cache'),
    },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // At Ctrl-C the terminal signals the child as well; a second signal does no harm.
    process.on(signal, () => child.kill(signal));
  }
  whenNpmIsGone(() => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}

/**
 * Calls `gone` once the npm that runs this script has ended. A signal to npm alone (from a service manager, or `kill`) ends it
 * but not its child processes. Between npm and this process there may be a shell.
 */
function whenNpmIsGone(gone) {
  if (process.env.npm_lifecycle_event === undefined) return;
  const shell = process.ppid;
  const isShell = /^(ba|da|a)?sh$/.test(textOf(`/proc/${shell}/comm`).trim());
  const npm = isShell ? parentOf(shell) : undefined;
  const timer = setInterval(() => {
    if (process.ppid === shell && (npm === undefined || parentOf(shell) === npm)) return;
    clearInterval(timer);
    gone();
  }, 500);
  timer.unref();
}

/** Process id of a process's parent, if the system provides it. The name before it may contain any character. */
function parentOf(pid) {
  return textOf(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[1];
}

/** Reads a system file about a process. The process may have ended, and another system has no such file. */
function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function searchPath() {
  return `${binaries}${delimiter}${process.env.PATH ?? ''}`;
}
