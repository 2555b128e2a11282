#!/usr/bin/env node
/** Starts an installed command line. Plain JavaScript without newer syntax: an older Node has to say that it is too old. */
import * as nodeModule from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

const NODE_OLDEST = 24;

if (Number(process.versions.node.split('.')[0]) < NODE_OLDEST) {
  console.error(
    `error: interlock needs Node ${NODE_OLDEST} or newer; this is ${process.version} (${process.execPath}): install one from https://nodejs.org`,
  );
  process.exitCode = 2;
} else {
  const caches = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  // Where the folder cannot be written the cache is off, and a command takes 0.1 s more.
  nodeModule.enableCompileCache(join(caches, 'interlock', 'compile-cache'));
  await import('../dist/main.js');
}
