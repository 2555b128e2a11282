import type { ListDiskHostResourcesRequest } from '@interlock/contracts/interlock/disk/v1/disk_host.ts';
import { names } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { setOf } from '../disk/encryption.ts';
import type { Disk } from '../disk/state.ts';
import { mergePages, pageOfRequest } from '../listing.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import { existingHost } from './decider.ts';
import { ofHost } from './own.ts';

/** What a disk host has, from the store: request in, disks and snapshots out. */
export const contentApi = ({ hosts, disks, snapshots }: Pick<Control, 'hosts' | 'disks' | 'snapshots'>) => ({
  async listDiskHostResources(request: ListDiskHostResourcesRequest) {
    const { name } = request;
    const { diskHost } = names.diskHost.parse(name, 'name');
    existingHost(name, (await hosts.load(diskHost)).state);
    const page = pageOfRequest(request);
    const query = { ...page, index: ofHost(diskHost) };
    const [ofDisks, ofSnapshots] = await Promise.all([disks.list(query), snapshots.list(query)]);
    const pages = [
      { items: ofDisks.items.map(({ id, state }) => ({ id, ...holderAndSet(state) })), next: ofDisks.next },
      { items: ofSnapshots.items.map(({ id, state }) => ({ id, ...holderAndSet(state) })), next: ofSnapshots.next },
    ];
    const { items, nextPageToken } = mergePages(pages, page.limit);
    return { resources: items.map(({ id, ...resource }) => ({ name: id, ...resource })), nextPageToken };
  },
});

/** The machine and the set of a disk or snapshot; empty without one. */
const holderAndSet = (state: Disk | Snapshot) => ({
  virtualMachine: 'holder' in state ? (state.holder?.virtualMachine ?? '') : '',
  diskEncryptionSet: 'encryption' in state ? setOf(state.encryption) : '',
});
