import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { Sku } from './machine.ts';

const skus: readonly Sku[] = ['STANDARD_HDD', 'STANDARD_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD_V2', 'ULTRA'];

/** A class of the contracts; `undefined` if none is given. */
export const skuOf = (sku: DiskSku): Sku | undefined => skus.find((known) => known === sku);
