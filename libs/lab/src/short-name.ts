/** The last segment of a full name: `vm-hdd` of `subscriptions/…/virtualMachines/vm-hdd`. */
export const shortName = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
