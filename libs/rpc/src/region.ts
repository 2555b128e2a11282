/** Regions are compared without spaces and case: `West Europe` is `westeurope` (CMK-23). */
export const regionOf = (location: string): string => location.replaceAll(/\s/g, '').toLowerCase();

/** Whether two texts name the same region. */
export const isSameRegion = (one: string, other: string): boolean => regionOf(one) === regionOf(other);
