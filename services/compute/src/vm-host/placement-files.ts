import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Placement, PlacementFiles } from './placements.ts';

/** The placements in a folder, each in a file of its own. @param folder made if it is missing */
export const placementFiles = (folder: string): PlacementFiles => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // The name of a machine is too long for that of a file.
  const pathOf = (vm: string): string => join(folder, `${createHash('sha256').update(vm).digest('hex')}${suffix}`);
  return {
    read: () =>
      readdirSync(folder)
        .filter((name) => name.endsWith(suffix))
        .map((name) => readPlacement(join(folder, name))),
    put(placement) {
      const path = pathOf(placement.vm);
      writeFileSync(`${path}.new`, JSON.stringify(placement), { mode: 0o600, flush: true });
      renameSync(`${path}.new`, path);
      flushFolder(folder);
    },
    remove(vm) {
      const path = pathOf(vm);
      if (existsSync(path)) rmSync(path);
    },
  };
};

const suffix = '.json';

/** Otherwise a power failure could take the new name of a file away. */
const flushFolder = (path: string): void => {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
};

const readPlacement = (path: string): Placement => {
  const { vm, machineId, number, isStopped }: Partial<Placement> = JSON.parse(readFileSync(path, 'utf8'));
  if (vm && machineId && Number.isSafeInteger(number) && typeof isStopped === 'boolean')
    return { vm, machineId, number: Number(number), isStopped };
  throw new Error(`${path} does not name the placement of a machine`);
};
