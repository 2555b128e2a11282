#!/usr/bin/env node
/**
 * Starts the command line of this clone with the Node that its services run on: a bundle of it, because 500 files of TypeScript
 * take 0.6 s of processor time to load and the bundle 0.05 s. The bundle is made again when what it was made from has changed.
 * Plain JavaScript without dependencies, because it must run on any Node a user has, also before anything is installed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const node24 = join(repository, 'node_modules/.bin/node');
const bundler = fileURLToPath(new URL('bundle.ts', import.meta.url));
const bundles = join(repository, '.interlock/cli');
const contracts = join(repository, 'libs/contracts/src/descriptors.ts');

if (!existsSync(node24) || !existsSync(contracts)) {
  console.error(
    'error: this clone is not prepared yet: `npm start` installs what it needs and rehearses once, `npm run up` installs and keeps the cloud running',
  );
  process.exitCode = 2;
} else if (Number(process.versions.node.split('.')[0]) >= 24) {
  const bundle = currentBundle() ?? newBundle();
  if (bundle === undefined) {
    console.error(`error: the command line cannot be bundled; the reason is above (${bundler})`);
    process.exitCode = 2;
  } else {
    nodeModule.enableCompileCache(join(bundle, 'compile-cache'));
    await import(pathToFileURL(join(bundle, 'main.js')).href);
  }
} else {
  // The path as it was typed: it says how the command line was called.
  const child = spawn(node24, process.argv.slice(1), { stdio: 'inherit' });
  // At Ctrl-C the terminal signals the child as well; a second signal does no harm.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => {
    console.error(`error: ${node24} does not start: ${error.message}`);
    process.exitCode = 2;
  });
  child.once('close', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}

/** Folder of the bundle of the current sources; undefined when it does not exist. */
function currentBundle() {
  try {
    const { clone, folder, madeFrom } = JSON.parse(readFileSync(join(bundles, 'current.json'), 'utf8'));
    // The bundle of a clone that was copied or moved is made of the files there, and names its data folder.
    if (clone !== repository) return undefined;
    const isCurrent = Object.entries(madeFrom).every(([file, stamp]) => {
      const { mtimeMs, size } = statSync(file);
      return `${mtimeMs} ${size}` === stamp;
    });
    return isCurrent && existsSync(join(bundles, folder, 'main.js')) ? join(bundles, folder) : undefined;
  } catch (error) {
    // No bundle yet, or a file of it was deleted or moved.
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes the bundle. @returns its folder; undefined where that failed, which was said */
function newBundle() {
  const { status } = spawnSync(process.execPath, [bundler, bundles], { cwd: repository, stdio: ['ignore', 2, 2] });
  return status === 0 ? currentBundle() : undefined;
}
