import { type FaultMoment, faultMoments } from '../timeline/faults.ts';

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

/** Moments of a part of the cloud: the latest of its kind. */
export const partQuantities = Object.fromEntries(faultMoments.map((name) => [name, 'moment'])) as Readonly<
  Record<FaultMoment, 'moment'>
>;

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
  ...partQuantities,
  ...runQuantities,
});
