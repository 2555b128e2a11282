import type { Lease, ListLeasesRequest, ListLeasesResponse } from '@interlock/contracts/interlock/disk/v1/lease.ts';
import { type Call, names, pageToken } from '@interlock/rpc';
import { hostNameOnWire } from '../fleet/wire.ts';
import { pageOfRequest } from '../listing.ts';
import { isAway, type PassedCall, type Router, type RouterParts } from './router.ts';

/** Between the host and its own place in a page token. Neither has it: names of hosts are short words, places are names of resources. */
const separator = '\n';

/** What a list of all leases needs. */
interface Parts {
  readonly router: Pick<Router, 'at'>;
  readonly links: Pick<RouterParts['links'], 'hosts' | 'refresh'>;
}

/**
 * The leases of all hosts, host by host. Every host from the place of the page on is called at once, so that one which does not
 * respond delays a page once.
 */
export const listLeasesOfAll =
  ({ router, links }: Parts) =>
  async (request: ListLeasesRequest, call: Call): Promise<ListLeasesResponse> => {
    const { diskEncryptionSet, diskHost } = request;
    if (diskEncryptionSet !== '') names.diskEncryptionSet.parse(diskEncryptionSet, 'disk_encryption_set');
    if (diskHost !== '') names.diskHost.parse(diskHost, 'disk_host');
    const { limit, after = '' } = pageOfRequest(request);
    const [first = ''] = after.split(separator, 1);
    await links.refresh();
    const hosts = links
      .hosts()
      .filter(
        ({ name, status }) =>
          status !== 'lost' && name >= first && (diskHost === '' || hostNameOnWire(name) === diskHost),
      );
    const found = await Promise.all(
      hosts.map(async ({ name }) => {
        const place = name === first ? after.slice(first.length + separator.length) : undefined;
        return { name, page: await pageAt(router, name, { diskEncryptionSet, limit, place }, call) };
      }),
    );
    const unreachable: string[] = [];
    const all: { readonly host: string; readonly lease: Lease }[] = [];
    let isMore = false;
    for (const { name, page } of found) {
      if (all.length >= limit) {
        isMore = true;
        break;
      }
      if (page === undefined) unreachable.push(hostNameOnWire(name));
      else all.push(...page.leases.map((lease) => ({ host: name, lease })));
      // The next page begins within this host.
      if (page !== undefined && page.nextPageToken !== '') {
        isMore = true;
        break;
      }
    }
    const shown = all.slice(0, limit);
    const last = shown.at(-1);
    const next = (isMore || all.length > limit) && last ? placeOf(last) : undefined;
    return { leases: shown.map(({ lease }) => lease), nextPageToken: pageToken(next), unreachable };
  };

/** @returns undefined if the host does not respond */
const pageAt = async (
  router: Pick<Router, 'at'>,
  host: string,
  wanted: { readonly diskEncryptionSet: string; readonly limit: number; readonly place: string | undefined },
  call: PassedCall,
) => {
  const { diskEncryptionSet, limit, place } = wanted;
  const request = { diskEncryptionSet, pageSize: limit, pageToken: pageToken(place) };
  try {
    return await router.at(host, call, (link, options) => link.disks.listLeases(request, options));
  } catch (error) {
    if (isAway(error)) return undefined;
    throw error;
  }
};

/** The place after a lease: its host, and its place there as the host itself writes it. */
const placeOf = ({ host, lease }: { readonly host: string; readonly lease: Lease }): string =>
  [host, lease.diskEncryptionSet, lease.keyVersion].join(separator);
