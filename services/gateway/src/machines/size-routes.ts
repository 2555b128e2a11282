import { diskSkuNames } from '../disks/skus.ts';
import { type Route, route } from '../http/route.ts';
import { regions } from '../management/subscriptions.ts';
import { filterOf } from '../resources/filter.ts';
import { machineSizes, sizeBody, sizeSku } from './sizes.ts';

const provider = '/subscriptions/:subscription/providers/Microsoft.Compute';

/** Lists of sizes and SKUs: what tools offer to choose from. */
export const sizeRoutes = (): readonly Route[] => {
  const common = { host: 'gateway', method: 'GET' } as const;
  const sizes = () => ({ body: { value: machineSizes.map(sizeBody) } });
  return [
    route({
      ...common,
      path: `${provider}/locations/:location/vmSizes`,
      does: 'Lists common sizes of machines; others work too',
      handle: sizes,
    }),
    route({
      ...common,
      path: '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Compute/virtualMachines/:name/vmSizes',
      does: 'Lists sizes that a machine can have: the common ones; others work too',
      handle: sizes,
    }),
    route({
      ...common,
      path: `${provider}/locations/:location/usages`,
      does: 'Lists quotas: there are none',
      handle: () => ({ body: { value: [] } }),
    }),
    route({
      ...common,
      path: `${provider}/skus`,
      does: 'Lists SKUs of machines and disks; `$filter` is location eq',
      handle: ({ query }) => {
        const { location } = filterOf(query.$filter, ['location']);
        const locations = regions.filter((one) => location === undefined || one === location.toLowerCase());
        if (locations.length === 0) return { body: { value: [] } };
        const disks = diskSkuNames.map((name) => diskSku(name, locations));
        return { body: { value: [...machineSizes.map((one) => sizeSku(one, locations)), ...disks] } };
      },
    }),
  ];
};

const diskSku = (name: string, locations: readonly string[]): unknown => ({
  resourceType: 'disks',
  name,
  tier: name.split('_')[0]?.replace(/SSD$/, ''),
  locations,
  locationInfo: locations.map((location) => ({ location, zones: ['1', '2', '3'], zoneDetails: [] })),
  capabilities: [],
  restrictions: [],
});
