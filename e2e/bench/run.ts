import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import { append } from './append.ts';
import type { Bench } from './bench.ts';
import { cipher } from './disk-io/cipher.ts';
import { diskIo } from './disk-io/disk-io.ts';
import { fairness } from './fairness.ts';
import { restoreFleet } from './restore-fleet.ts';
import { revokeFleet } from './revoke-fleet.ts';
import { unwrap } from './unwrap.ts';

const benches: Readonly<Record<string, Bench>> = {
  append,
  cipher,
  'disk-io': diskIo,
  fairness,
  'restore-fleet': restoreFleet,
  'revoke-fleet': revokeFleet,
  unwrap,
};

/** `npm run bench -- <name> [--size N] [--smoke] [--history FILE]`: prints one JSON line per size; the last line is such a line. */
runCommand(async (scope) => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { size: { type: 'string' }, smoke: { type: 'boolean', default: false }, history: { type: 'string' } },
  });
  const [name = ''] = positionals;
  const bench = benches[name];
  if (!bench) throw new LauncherError(`There is no bench "${name}". There are: ${Object.keys(benches).join(', ')}.`);
  const size = values.size === undefined ? undefined : Number(values.size);
  if (size !== undefined && !(Number.isInteger(size) && size > 0))
    throw new LauncherError(`--size must be a whole number above 0, not "${values.size}".`);

  const root = mkdtempSync(join(openDataFolder(dataRoot(process.env)).folder('bench'), 'run-'));
  scope.defer('bench data', () => rmSync(root, { recursive: true, force: true }));
  const measurements = await bench({ size, smoke: values.smoke, data: openDataFolder(root) }, scope);
  const lines = measurements.map((measurement) => JSON.stringify(measurement));
  for (const line of lines.slice(0, -1)) console.log(line);
  if (values.history !== undefined) appendFileSync(values.history, `${lines.join('\n')}\n`);
  const lastLine = lines.at(-1);
  return lastLine === undefined ? { exitCode: 1 } : { exitCode: 0, lastLine };
});
