/** What the loss of a key does to a machine with disks under it. */
export type LossOutcome = 'STOPS' | 'FAILS_AT_NEXT_START';

/**
 * Whether a running machine keeps the data of a disk through the loss of its key: ultra disks only (CMK-101, CMK-102).
 * @param sku `DiskSku` of the contracts
 */
export const outlivesKeyLoss = (sku: string): boolean => sku === 'ULTRA';

/**
 * What a loss does to a machine (CMK-100 to CMK-103, CMK-111); undefined: nothing.
 * @param isRunning whether it runs, or will run
 * @param skus classes of its disks under the lost key; empty if none is
 */
export function lossOutcome(isRunning: boolean, skus: readonly string[]): LossOutcome | undefined {
  if (skus.length === 0) return undefined;
  return isRunning && !skus.every(outlivesKeyLoss) ? 'STOPS' : 'FAILS_AT_NEXT_START';
}
