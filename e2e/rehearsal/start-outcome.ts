import type { LinuxOutcome } from '../qemu/rehearse-linux.ts';
import type { RehearsalOutcome } from './run.ts';

/** The last lines of `npm start`. Times are milliseconds since the epoch. */
export const startOutcome = (
  { firstMachineRanAtMs, ...outcome }: RehearsalOutcome & { readonly linux?: LinuxOutcome },
  { startedAtMs, endedAtMs }: { readonly startedAtMs: number; readonly endedAtMs: number },
): { readonly text: string; readonly lastLine: string } => {
  const secondsUntil = (atMs: number) => Math.round((atMs - startedAtMs) / 100) / 10;
  const all = secondsUntil(endedAtMs);
  const firstMachine = firstMachineRanAtMs === undefined ? undefined : secondsUntil(firstMachineRanAtMs);
  const first = firstMachine === undefined ? 'No machine ran' : `The first machine ran after ${firstMachine} s`;
  return {
    text: `${first}; started, rehearsed and stopped in ${all} s`,
    lastLine: JSON.stringify({
      ...outcome,
      seconds: { ...(firstMachine === undefined ? {} : { firstMachine }), all },
    }),
  };
};
