#!/usr/bin/env node
/**
 * Starts the command line with the Node that runs TypeScript. Plain JavaScript without dependencies, because it must run on
 * any Node a user has, also before anything is installed.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const node24 = join(repository, 'node_modules/.bin/node');
const compileCache = join(repository, '.interlock/compile-cache');
const main = fileURLToPath(new URL('src/main.ts', import.meta.url));
const contracts = join(repository, 'libs/contracts/src/descriptors.ts');

if (!existsSync(node24) || !existsSync(contracts)) {
  console.error(
    'error: this clone is not prepared yet: `npm start` installs what it needs and rehearses once, `npm run up` installs and keeps the cloud running',
  );
  process.exitCode = 2;
} else if (Number(process.versions.node.split('.')[0]) >= 24) {
  nodeModule.enableCompileCache(compileCache);
  await import(main);
} else {
  const child = spawn(node24, [main, ...process.argv.slice(2)], {
    env: { NODE_COMPILE_CACHE: compileCache, ...process.env },
    stdio: 'inherit',
  });
  // At Ctrl-C the terminal tells the child as well; being told twice does no harm.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => {
    console.error(`error: ${node24} does not start: ${error.message}`);
    process.exitCode = 2;
  });
  child.once('close', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}
