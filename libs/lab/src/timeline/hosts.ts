import type { ActionKind } from './action-kind.ts';

/** What operators do with hosts and with the disks on them. */
export const ofHosts = {
  'drain-host': {
    targets: 'host',
    done: 'drain of the host requested',
    description:
      'Empties a disk host or VM host: it takes nothing new, its disks move to other hosts, and its machines stop and start elsewhere. Undone: it is open again.',
  },
  'lose-host': {
    targets: 'host',
    done: 'host declared lost',
    description:
      'Declares that a disk host or VM host is lost: its machines are stopped, and start at another VM host if their group says so.',
    isFinal: true,
  },
  'move-disk': {
    targets: 'group',
    done: 'move of disks requested',
    description: 'Moves every disk of the group to another disk host, while its machines run: see `to`.',
    options: { to: 'needed' },
    isFinal: true,
  },
} as const satisfies Readonly<Record<string, ActionKind>>;

/** An action of an operator on a host, or on the disks of a group. */
export type HostAction = keyof typeof ofHosts;

/** Moments of a host in expressions, and the state of its record that each is: `vm-host-0.drained`. */
export const hostMoments = { drained: 'DRAINED', lost: 'LOST', reopened: 'OPEN' } as const;

/** The name of such a moment. */
export type HostMoment = keyof typeof hostMoments;

/** Whether it is the name of such a moment. */
export const isHostMoment = (name: string): name is HostMoment => Object.hasOwn(hostMoments, name);
