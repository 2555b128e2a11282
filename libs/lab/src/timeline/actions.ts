import { type ActionName, cloudParts, faultActions, keyActions, machineActions } from '../experiment.ts';

/** Target of an action. `key`: a group (its key) or the name of a key; `step`: the step that `give-back` undoes. */
export type TargetKind = 'key' | 'part' | 'two-parts' | 'group' | 'step';

const isOneOf =
  (names: readonly string[]) =>
  (action: string): boolean =>
    names.includes(action);

export const isKeyAction = isOneOf(keyActions);
export const isFaultAction = isOneOf(faultActions);
export const isMachineAction = isOneOf(machineActions);

/** Every action of a timeline. */
export const actionNames: readonly ActionName[] = [...keyActions, ...faultActions, ...machineActions, 'give-back'];

export function targetKindOf(action: ActionName): TargetKind {
  if (action === 'give-back') return 'step';
  if (action === 'cut') return 'two-parts';
  if (isFaultAction(action)) return 'part';
  return isMachineAction(action) ? 'group' : 'key';
}

/** Whether the action takes a key away; the other key actions replace it. */
export const takesAccess = (action: string): boolean =>
  isKeyAction(action) && action !== 'rotate-key' && action !== 'assign-key';

/** Whether the action can be undone: a purged key is gone, and a restart is over when it is done. */
export const isUndoable = (action: string): boolean =>
  action !== 'purge-key' && action !== 'restart' && action !== 'give-back';

export const isCloudPart = isOneOf(cloudParts);
