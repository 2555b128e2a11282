import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import { RestError } from '../errors/rest-error.ts';

/** Names of disk classes in the public cloud. The first name of a class is shown where no client named another. */
const skus = [
  ['Standard_LRS', 'STANDARD_HDD'],
  ['StandardSSD_LRS', 'STANDARD_SSD'],
  ['StandardSSD_ZRS', 'STANDARD_SSD'],
  ['Premium_LRS', 'PREMIUM_SSD'],
  ['Premium_ZRS', 'PREMIUM_SSD'],
  ['PremiumV2_LRS', 'PREMIUM_SSD_V2'],
  ['UltraSSD_LRS', 'ULTRA'],
] as const satisfies readonly (readonly [string, DiskSku])[];

/** Names of the classes. */
export const diskSkuNames: readonly string[] = skus.map(([shown]) => shown);

/** @throws RestError 400 InvalidParameter */
export const skuOf = (name: string, field: string): DiskSku => {
  const [, sku] = skus.find(([shown]) => shown.toLowerCase() === name.toLowerCase()) ?? [];
  if (sku !== undefined) return sku;
  const allowed = skus.map(([shown]) => shown).join(', ');
  throw new RestError(400, 'InvalidParameter', `${field} must be one of ${allowed} (got "${name.slice(0, 50)}")`, {
    details: [{ code: 'InvalidParameter', message: `allowed: ${allowed}`, target: field }],
  });
};

/** The class as clients read it. @param given the name that a client used; it counts if it names this class */
export const skuShown = (sku: DiskSku, given?: unknown): string => {
  const known = skus.filter(([, one]) => one === sku).map(([shown]) => shown);
  return known.find((shown) => shown.toLowerCase() === String(given).toLowerCase()) ?? known[0] ?? 'Standard_LRS';
};

/** Performance tiers of Premium disks: largest size in GiB, name, I/O operations a second, MB a second. */
const tiers = [
  [4, 'P1', 120, 25],
  [8, 'P2', 120, 25],
  [16, 'P3', 120, 25],
  [32, 'P4', 120, 25],
  [64, 'P6', 240, 50],
  [128, 'P10', 500, 100],
  [256, 'P15', 1_100, 125],
  [512, 'P20', 2_300, 150],
  [1_024, 'P30', 5_000, 200],
  [2_048, 'P40', 7_500, 250],
  [4_096, 'P50', 7_500, 250],
  [8_192, 'P60', 16_000, 500],
  [16_384, 'P70', 18_000, 750],
  [32_767, 'P80', 20_000, 900],
] as const;

/** Performance that clients read; nothing here is limited to it. @param sizeGib of the disk */
export const performanceShown = (sku: DiskSku, sizeGib: number): Readonly<Record<string, number | string>> => {
  if (sku === 'STANDARD_HDD' || sku === 'STANDARD_SSD') return { diskIOPSReadWrite: 500, diskMBpsReadWrite: 60 };
  if (sku !== 'PREMIUM_SSD') return { diskIOPSReadWrite: 3_000, diskMBpsReadWrite: 125 };
  const [, tier, iops, mbps] = tiers.find(([largest]) => sizeGib <= largest) ?? tiers[tiers.length - 1] ?? tiers[0];
  return { diskIOPSReadWrite: iops, diskMBpsReadWrite: mbps, tier };
};
