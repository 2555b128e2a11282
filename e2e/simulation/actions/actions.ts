import type { Action } from './action.ts';
import { dataActions } from './data.ts';
import { diskActions } from './disks.ts';
import { hostActions } from './hosts.ts';
import { keyActions } from './keys.ts';
import { machineActions } from './machines.ts';
import { purgeActions } from './purges.ts';
import { setActions } from './sets.ts';

/** All random actions of a history, except faults. */
export const actions: readonly Action[] = [
  ...dataActions,
  ...machineActions,
  ...diskActions,
  ...keyActions,
  ...setActions,
  ...purgeActions,
  ...hostActions,
];
