import { basename } from 'node:path';
import { systemClock, systemRandom } from '@interlock/runtime';

/** An id of a run of a file: it sorts by time, and is unique. */
export function idOf(path: string): string {
  const time = new Date(systemClock.now()).toISOString().replace(/\D/g, '').slice(0, 14);
  const title = basename(path)
    .replace(/(\.experiment)?\.ya?ml$/, '')
    .replace(/[^A-Za-z0-9-]/g, '-')
    .slice(0, 30);
  return `${title}-${time}-${systemRandom.uuid().slice(0, 4)}`;
}
