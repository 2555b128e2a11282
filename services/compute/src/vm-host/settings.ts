import { type ConfigProblem, int, optional, text } from '@interlock/runtime';
import { guestSpec } from '../guests/guest-settings.ts';

/** The settings of a VM host, in addition to those of every process. */
export const vmHostSpec = {
  ...guestSpec,
  vmHost: text('Unique name of this VM host; its machines name it, so it never changes', { default: 'vm-host-0' }),
  vmHostAddress: text('host:port at which compute reaches this VM host'),
  hostZone: optional(text('Where this VM host is, for example the zone of its node; shown, and for placement')),
  vmHostLeaveMs: int(
    'How long a stopping VM host waits until its machines have moved to other hosts; 0: they end with it',
    {
      min: 0,
      default: 0,
    },
  ),
  guestCapacity: int('Most guests of this VM host', { min: 1, max: 10_000, default: 100 }),
} as const;

/** What is wrong with settings that each alone allows: a process is ended after its time to stop. */
export const vmHostProblems = (settings: {
  readonly vmHostLeaveMs: number;
  readonly shutdownGraceMs: number;
}): readonly ConfigProblem[] => {
  const { vmHostLeaveMs, shutdownGraceMs } = settings;
  if (vmHostLeaveMs < shutdownGraceMs) return [];
  const expected = `less than SHUTDOWN_GRACE_MS (${shutdownGraceMs})`;
  return [{ name: 'VM_HOST_LEAVE_MS', got: String(vmHostLeaveMs), expected }];
};
