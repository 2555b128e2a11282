import { isObject } from '../request/schema.ts';

/** Why a pod is not running yet, from its status: of its container, or of the scheduler. */
export const waitingOf = (
  status: Readonly<Record<string, unknown>>,
): { readonly reason: string; readonly message: string } | undefined => {
  const containers = Array.isArray(status.containerStatuses) ? status.containerStatuses.filter(isObject) : [];
  for (const { state } of containers) {
    if (isObject(state) && isObject(state.waiting)) {
      return { reason: String(state.waiting.reason), message: String(state.waiting.message ?? '') };
    }
  }
  const conditions = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
  const unscheduled = conditions.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  return unscheduled && { reason: String(unscheduled.reason), message: String(unscheduled.message ?? '') };
};
