import { readdirSync } from 'node:fs';

/** How many descriptors a process has open; undefined if it has ended. */
export const descriptorCount = (pid: number): number | undefined => {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};
