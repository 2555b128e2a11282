import type { DiskClass } from '../../experiment.ts';
import type { EstateDisk } from '../estate-file.ts';
import type { AzureId, TwinNames } from './ids.ts';
import { regionOf, type TwinNotes } from './notes.ts';
import { objectIn, type Row, textOf } from './rows.ts';
import type { MappedSet } from './sets.ts';

export type PlacedDisk = EstateDisk & { readonly location: string };

/** A disk of the twin, or the reason why it is not mapped. `isUnderKey`: whether it is under a customer's key, as far as known. */
export type MappedDisk =
  | { readonly disk: PlacedDisk; readonly sharesMax: number }
  | { readonly reason: string; readonly isUnderKey: boolean };

/** Classes by `sku.name` in lower case. Zone redundancy does not matter for keys. */
const classes: Readonly<Record<string, DiskClass>> = {
  standard_lrs: 'standard-hdd',
  standardssd_lrs: 'standard-ssd',
  standardssd_zrs: 'standard-ssd',
  premium_lrs: 'premium-ssd',
  premium_zrs: 'premium-ssd',
  premiumv2_lrs: 'premium-ssd-v2',
  ultrassd_lrs: 'ultra',
};

const GIB = 1_024 ** 3;

/** Context for the mapping of disks. */
export interface DiskMapping {
  readonly sets: ReadonlyMap<string, MappedSet>;
  readonly names: TwinNames;
  readonly notes: TwinNotes;
  /** Sizes are divided by it. */
  readonly scale: number;
}

/** Facts about a disk, from its own row or from that of its machine. */
export interface DiskFacts {
  readonly sku: string;
  readonly sizeGib: number | undefined;
  readonly set: string;
  readonly location: string;
  readonly sharesMax: number;
}

/** Facts of a row of `az disk list`. */
export function factsOfDisk(row: Row): DiskFacts {
  const size = Number(row.disksizegb ?? Number.NaN);
  const bytes = Number(row.disksizebytes ?? Number.NaN);
  return {
    sku: textOf(objectIn(row, 'sku').name),
    sizeGib: Number.isFinite(size) ? size : Number.isFinite(bytes) ? bytes / GIB : undefined,
    set: textOf(objectIn(row, 'encryption').diskencryptionsetid),
    location: textOf(row.location),
    sharesMax: Number(row.maxshares ?? 1),
  };
}

/** Maps one disk. @returns the disk, or the reason why it is not mapped, for the caller to report */
export function mapDisk(id: AzureId, facts: DiskFacts, row: Row, mapping: DiskMapping): MappedDisk {
  const { sets, names, notes, scale } = mapping;
  const isUnderKey = facts.set !== '';
  const no = (reason: string): MappedDisk => ({ reason, isUnderKey });
  const security = objectIn(row, 'securityprofile');
  if (/^ConfidentialVM/i.test(textOf(security.securitytype)))
    return { reason: `its security type ${textOf(security.securitytype)} has no counterpart`, isUnderKey: true };
  const type = classes[facts.sku.toLowerCase()];
  if (type === undefined)
    return no(facts.sku === '' ? 'its SKU is not known' : `its SKU ${facts.sku} has no counterpart`);
  const location = regionOf(facts.location);
  const mapped = facts.set === '' ? undefined : sets.get(facts.set.toLowerCase());
  if (isUnderKey && mapped === undefined) return no(`its set ${facts.set.split('/').at(-1)} is not in the files`);
  if (mapped !== undefined && 'reason' in mapped)
    return no(`its set ${facts.set.split('/').at(-1)} is not mapped: ${mapped.reason}`);
  const set = mapped?.set;
  const isDirect = type === 'ultra' || type === 'premium-ssd-v2';
  if (set?.encryption === 'platform-and-customer-keys' && isDirect)
    return no(`${type} disks cannot be under the two keys of ${set.name}`);
  if (set !== undefined && set.location !== location)
    return no(`it is in ${location} and its set ${set.name} in ${set.location}`);
  const name = names.nameOf(id);
  if (facts.sizeGib === undefined) notes.change(`disk ${name}`, 'its size is not in the files: 1 GiB');
  const gib = Math.max(1, Math.ceil((facts.sizeGib ?? 1) / scale));
  const disk = { name, location, class: type, gib, ...(set === undefined ? {} : { set: set.name }) };
  return { disk, sharesMax: facts.sharesMax };
}
