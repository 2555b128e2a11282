import { type FaultMoment, faultMoments } from '../timeline/faults.ts';
import { type HostMoment, hostMoments } from '../timeline/hosts.ts';

/** Type of the value of a quantity. Moments are compared with moments, or with a duration since a loss. */
export type QuantityType = 'moment' | 'duration' | 'number' | 'state' | 'reason';

/** Quantities of a group of machines. A moment is the latest of its machines. */
export const groupQuantities = {
  lastGoodRead: 'moment',
  lastGoodWrite: 'moment',
  lastGoodIo: 'moment',
  stopped: 'moment',
  startRefused: 'moment',
  back: 'moment',
  moved: 'moment',
  disksMoved: 'moment',
  fenced: 'moment',
  gap: 'duration',
  failed: 'number',
  mismatches: 'number',
  running: 'state',
  isStopped: 'state',
  reason: 'reason',
} as const satisfies Readonly<Record<string, QuantityType>>;

/** Moments of a step: when it took effect (also its bare name), and when it was called. */
export const stepQuantities = { effect: 'moment', injected: 'moment' } as const satisfies Readonly<
  Record<string, QuantityType>
>;

/** Moments of a host, in its record. */
const ofHostRecord = Object.fromEntries(Object.keys(hostMoments).map((name) => [name, 'moment'])) as Readonly<
  Record<HostMoment, 'moment'>
>;

/** What became of the machines and disks of a group at hosts. They are counted from steps, not from losses. */
export const isHostQuantity = (name: string): boolean => ['moved', 'disksMoved', 'fenced'].includes(name);

/** Moments of a part of the cloud: the latest of its kind. */
export const partQuantities = Object.fromEntries(faultMoments.map((name) => [name, 'moment'])) as Readonly<
  Record<FaultMoment, 'moment'>
>;

/** Moments of a host: those of a part, and those of its record. */
export const hostQuantities = { ...partQuantities, ...ofHostRecord } as const;

/** Quantities of the whole run. */
export const runQuantities = {
  bytesLost: 'number',
  bytesCompared: 'number',
} as const satisfies Readonly<Record<string, QuantityType>>;

export type GroupQuantity = keyof typeof groupQuantities;
export type PartQuantity = FaultMoment;

export const isGroupQuantity = (name: string): name is GroupQuantity => Object.hasOwn(groupQuantities, name);
export const isPartQuantity = (name: string): name is PartQuantity => Object.hasOwn(partQuantities, name);

/** Names of all quantities. */
export const quantityNames: readonly string[] = Object.keys({
  ...groupQuantities,
  ...stepQuantities,
  ...hostQuantities,
  ...runQuantities,
});
