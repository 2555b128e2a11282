import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Backends } from '../cloud/backends.ts';
import { armTypes } from '../cloud/resource-names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, route } from '../http/route.ts';
import type { ResourceRecords } from '../management/resource-records.ts';
import { pathOf } from '../resource-types/rows.ts';
import type { ServiceResources } from '../resource-types/service-resources.ts';
import type { SetGiven } from './set-body.ts';

interface Parts {
  readonly backends: Pick<Backends, 'sets'>;
  readonly resourceRecords: ResourceRecords;
  readonly sets: ServiceResources<DiskEncryptionSet, SetGiven>;
}

/** What disk encryption sets have besides the rows of every type. */
export const setRoutes = ({ backends, resourceRecords, sets }: Parts): readonly Route[] => [
  route({
    host: 'gateway',
    method: 'GET',
    path: `${pathOf(armTypes.diskEncryptionSets)}/associatedResources`,
    does: 'Lists ids of the disks and snapshots under a disk encryption set',
    handle: async (request, caller) => {
      const { name } = await sets.get(request.params, caller);
      const asked = { name, ...pageOf(request) };
      const found = await backends.sets.listAssociatedResources(asked, caller.as('disk-encryption-set'));
      const named = found.resources.map((resource) => resource.name);
      const ids = named.map(await resourceRecords.idsOf(named));
      return { body: listBody(request, ids, found.nextPageToken) };
    },
  }),
];
