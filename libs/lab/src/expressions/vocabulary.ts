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
export const partQuantities = {
  killed: 'moment',
  restarted: 'moment',
  paused: 'moment',
  resumed: 'moment',
  slowed: 'moment',
  cut: 'moment',
  healed: 'moment',
} as const satisfies Readonly<Record<string, QuantityType>>;

/** Quantities of the whole run. */
export const runQuantities = {
  bytesLost: 'number',
  bytesCompared: 'number',
} as const satisfies Readonly<Record<string, QuantityType>>;

export type GroupQuantity = keyof typeof groupQuantities;
export type PartQuantity = keyof typeof partQuantities;

/** The steps that give a moment of a part; `end`: when they are undone, otherwise when they take effect. */
export const partMoments: Readonly<
  Record<PartQuantity, { readonly actions: readonly string[]; readonly end: boolean }>
> = {
  killed: { actions: ['kill', 'restart'], end: false },
  restarted: { actions: ['kill', 'restart'], end: true },
  paused: { actions: ['pause'], end: false },
  resumed: { actions: ['pause'], end: true },
  slowed: { actions: ['slow'], end: false },
  cut: { actions: ['cut'], end: false },
  healed: { actions: ['slow', 'cut', 'shift-clock', 'fill-storage', 'fail-storage'], end: true },
};

export const isGroupQuantity = (name: string): name is GroupQuantity => Object.hasOwn(groupQuantities, name);
export const isPartQuantity = (name: string): name is PartQuantity => Object.hasOwn(partQuantities, name);

/** Names of all quantities. */
export const quantityNames: readonly string[] = Object.keys({
  ...groupQuantities,
  ...stepQuantities,
  ...partQuantities,
  ...runQuantities,
});
