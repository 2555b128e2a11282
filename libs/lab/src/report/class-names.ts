const classNames: Readonly<Record<string, string>> = {
  STANDARD_HDD: 'Standard HDD',
  STANDARD_SSD: 'Standard SSD',
  PREMIUM_SSD: 'Premium SSD',
  PREMIUM_SSD_V2: 'Premium SSD v2',
  ULTRA: 'Ultra',
};

/** A class of disks as users read it. @param name `PREMIUM_SSD`, or `premium-ssd` */
export const className = (name: string): string => classNames[name.toUpperCase().replaceAll('-', '_')] ?? name;
