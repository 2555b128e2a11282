import type { JsonObject } from '@bufbuild/protobuf';
import { isObject } from '../request/schema.ts';

/**
 * Whether a lost key holds off a machine that is to run: it stopped it, and its user has not asked for that since; or it let it
 * not come up when its user started or restarted it last (VM-33, VM-47), which is a failed operation and no stop of the
 * platform's.
 */
export const isHeldOffByKey = ({ powerState, stopCause, failure }: JsonObject): boolean => {
  if (powerState !== 'STOPPED') return false;
  if (stopCause === 'KEY_LOST') return true;
  const isOfStart = isObject(failure) && (failure.operation === 'start' || failure.operation === 'restart');
  return isOfStart && isObject(failure.accessLoss);
};
