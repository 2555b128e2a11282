import type { WriteRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Category, Rejection } from '@interlock/event-store';
import { type Call, names, service } from '@interlock/rpc';
import type { DiskEvent } from '../disk/events.ts';
import type { Disk } from '../disk/state.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { refusalOn } from '../fleet/own.ts';
import { accessTokenKey, hashAccessToken, noToken } from '../host/data/access-token.ts';

/** What a control process needs to know where a disk is. */
interface DataParts {
  readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
  readonly fleet: Pick<Fleet, 'isLost' | 'folderOf' | 'leaseOf'>;
}

/**
 * Reads, writes and flushes as a control process answers them: with DISK_NOT_HERE and the address of the host that has the disk. A
 * guest asks here if its host does not respond: the disk may have moved, and the host that would say so may be gone.
 */
export const dataElsewhere = (parts: DataParts) => {
  const refuse = (name: string, field: string, call: Call) => referred(parts, name, field, call);
  return service({
    definition: DiskDataServiceDefinition,
    implementation: {
      // biome-ignore lint/correctness/useYield: it never has data
      async *read({ name }, call) {
        throw await refuse(name, 'name', call);
      },
      async write(requests, call) {
        throw await refuse(await nameIn(requests), 'header.name', call);
      },
      async flush({ name }, call) {
        throw await refuse(name, 'name', call);
      },
    },
    // The access token is the credential, as at a host.
    authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
  });
};

/** The refusal of any operation. It names the host only to whom the disk is open. */
const referred = async ({ disks, fleet }: DataParts, name: string, field: string, call: Call): Promise<Rejection> => {
  names.disk.parse(name, field);
  const token = call.metadata.get(accessTokenKey);
  if (token === undefined) return noToken(token);
  const { state } = await disks.load(name);
  const access = state.status === 'active' ? state.access : null;
  if (state.status !== 'active' || access?.tokenHash !== hashAccessToken(token)) return noToken(token);
  const refusal = refusalOn('a control process', fleet)(name, state.host);
  if (refusal === undefined) throw new Error('a control process has no disks');
  return refusal;
};

/** The disk that a write is for: its first message says it. The rest is not read. */
const nameIn = async (requests: AsyncIterable<WriteRequest>): Promise<string> => {
  for await (const { header } of requests) {
    if (header) return header.name;
    break;
  }
  throw new Rejection('INVALID_ARGUMENT', 'WRITE_HEADER_INVALID', 'the first message must have a header', {
    field: 'header',
  });
};
