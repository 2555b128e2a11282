import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';

/** Largest disk of each class, in GiB. */
export const diskSizeGibMax = {
  STANDARD_HDD: 32_767,
  STANDARD_SSD: 32_767,
  PREMIUM_SSD: 32_767,
  PREMIUM_SSD_V2: 65_536,
  ULTRA: 65_536,
} as const satisfies Partial<Record<DiskSku, number>>;
