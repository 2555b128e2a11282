import type { Json, JsonObject } from '@interlock/event-store';
import type { PresentRecord } from '../records/records.ts';

/** Types of the network that are kept. Nothing is connected: machines here have no network. */
export const networkTypes = [
  'virtualNetworks',
  'networkInterfaces',
  'networkSecurityGroups',
  'publicIPAddresses',
] as const;

/** One of them. */
export type NetworkType = (typeof networkTypes)[number];

/** Parts that have ids of their own, by the member that lists them. */
const partsOf: Readonly<Record<NetworkType, string | undefined>> = {
  virtualNetworks: 'subnets',
  networkInterfaces: 'ipConfigurations',
  networkSecurityGroups: 'securityRules',
  publicIPAddresses: undefined,
};

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A network resource as clients read it. */
export const networkBody = (type: NetworkType, { armId, content }: PresentRecord): unknown => {
  const { properties, ...rest } = content;
  const given = isObject(properties) ? properties : {};
  const member = partsOf[type];
  const parts = member === undefined ? undefined : given[member];
  return {
    id: armId,
    name: armId.split('/').at(-1),
    type: `Microsoft.Network/${type}`,
    ...rest,
    properties: {
      ...given,
      ...(member !== undefined && Array.isArray(parts)
        ? {
            [member]: parts.map((part: Json) =>
              partBody(`${armId}/${member}`, `Microsoft.Network/${type}/${member}`, part),
            ),
          }
        : {}),
      provisioningState: 'Succeeded',
    },
  };
};

/** A part, such as a subnet. @param parent ARM id up to its own name */
export const partBody = (parent: string, type: string, part: Json): Json => {
  if (!isObject(part)) return part;
  const properties = isObject(part.properties) ? part.properties : {};
  const { name } = part;
  return {
    ...part,
    id: `${parent}/${String(name)}`,
    type,
    properties: { ...properties, provisioningState: 'Succeeded' },
  };
};
