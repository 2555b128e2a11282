import type { KeyLoss } from './machine.ts';

/**
 * Whether a loss or disk is of that key. The outage of one disk host is not that of another (G3). What names no host is of every
 * host.
 */
export const isLossOf = (
  { set, keyVersion, host }: Pick<KeyLoss, 'set' | 'keyVersion' | 'host'>,
  key: Pick<KeyLoss, 'set' | 'keyVersion' | 'host'>,
): boolean =>
  set === key.set &&
  keyVersion === key.keyVersion &&
  (host === undefined || key.host === undefined || host === key.host);
