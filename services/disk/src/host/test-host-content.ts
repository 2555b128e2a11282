import type { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { RpcClient } from '@interlock/rpc';
import { Metadata } from 'nice-grpc';
import { accessTokenKey } from './data/access-token.ts';

/** The content of one disk, through direct access. */
export interface HostContent {
  /** Begins direct access. @returns a function that reads the start of the disk while the access lasts */
  reader(): Promise<(length: number) => Promise<Buffer>>;
  /** Begins direct access. @returns a function that writes and flushes at `offset` while the access lasts */
  writer(offset?: number): Promise<(content: Uint8Array) => Promise<void>>;
  /** Writes the start of the disk under an access of its own. */
  fill(content: Uint8Array): Promise<void>;
  /** Reads under an access of its own. */
  content(length: number, offset?: number): Promise<Buffer>;
}

/** Credentials of direct access. */
type Access = Parameters<RpcClient<typeof DiskDataServiceDefinition>['flush']>[1];

/** What reads and writes a disk. The clients are those of the process that runs at the call. */
interface Clients {
  readonly disk: string;
  readonly disks: () => RpcClient<typeof DiskServiceDefinition>;
  readonly data: () => RpcClient<typeof DiskDataServiceDefinition>;
}

/** Begins direct access to a disk. @returns the credentials of its calls */
export const beginAccess = async (
  { disk, disks }: Pick<Clients, 'disk' | 'disks'>,
  accessLevel: 'READ' | 'WRITE',
): Promise<Access> => {
  const { accessToken } = await disks().beginAccess({ name: disk, accessLevel, durationSeconds: 60 });
  return { metadata: new Metadata({ [accessTokenKey]: accessToken }) };
};

/** Requests that write `content` at an offset in bytes, in one piece. */
export const writeOf = async function* (name: string, content: Uint8Array, offsetBytes = 0) {
  yield { header: { name, offsetBytes }, data: Buffer.from(content) };
};

/** Reads and writes a disk through direct access. */
export const contentOf = (clients: Clients): HostContent => {
  const { disk: name, disks, data } = clients;
  const readUnder = async (access: Access, offsetBytes: number, lengthBytes: number): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    const answers = data().read({ name, offsetBytes, lengthBytes }, access);
    for await (const { data: piece } of answers) pieces.push(Buffer.from(piece));
    return Buffer.concat(pieces);
  };
  const writer: HostContent['writer'] = async (offsetBytes = 0) => {
    const access = await beginAccess(clients, 'WRITE');
    return async (content) => {
      await data().write(writeOf(name, content, offsetBytes), access);
      await data().flush({ name }, access);
    };
  };
  return {
    writer,
    async reader() {
      const access = await beginAccess(clients, 'READ');
      return (lengthBytes) => readUnder(access, 0, lengthBytes);
    },
    async fill(content) {
      const write = await writer();
      await write(content);
      await disks().endAccess({ name });
    },
    async content(lengthBytes, offsetBytes = 0) {
      const content = await readUnder(await beginAccess(clients, 'READ'), offsetBytes, lengthBytes);
      await disks().endAccess({ name });
      return content;
    },
  };
};
