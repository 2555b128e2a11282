import { randomBytes } from 'node:crypto';
import { Metadata } from 'nice-grpc-common';
import type { FleetDisk, Member } from './fleet.ts';
import type { Place } from './place.ts';

/** The outcome of the reads and writes of a guest. */
export type IoSeen = 'continues' | 'refused' | 'none' | 'differs';

/** The content of a fleet's disks: every acknowledged write, and whether it can still be read. */
export interface Content {
  /** Writes new content to a disk of a machine as its guest, and reads it back. */
  tryAsGuest(member: Member, disk: FleetDisk): Promise<IoSeen>;
  /** Writes new content to an unattached disk, as its user. */
  writeAsUser(disk: FleetDisk): Promise<void>;
  /** Reads every acknowledged write of a disk as the guest of its machine. @returns how many were not found */
  missingAsGuest(member: Member, disk: FleetDisk): Promise<number>;
}

const blockBytes = 4_096;
/** The offset of the first block: not the start, where a mistake could be hidden by chance. */
const firstOffset = 37 * blockBytes;

interface Block {
  readonly offset: number;
  readonly bytes: Buffer;
}

export const openContent = (place: Place): Content => {
  const acknowledged = new Map<string, Block[]>();
  const attempts = new Map<string, number>();

  const nextBlock = ({ name }: FleetDisk): Block => {
    const attempt = attempts.get(name) ?? 0;
    attempts.set(name, attempt + 1);
    return { offset: firstOffset + attempt * blockBytes, bytes: randomBytes(blockBytes) };
  };
  const withToken = (accessToken: string) => ({ metadata: Metadata().set('x-interlock-disk-access', accessToken) });

  const write = async ({ name }: FleetDisk, token: string, { offset, bytes }: Block): Promise<void> => {
    const pieces = async function* () {
      yield { header: { name, offsetBytes: offset }, data: bytes };
    };
    await place.data.write(pieces(), withToken(token));
    acknowledged.set(name, [...(acknowledged.get(name) ?? []), { offset, bytes }]);
  };
  const read = async ({ name }: FleetDisk, token: string, offset: number): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    const request = { name, offsetBytes: offset, lengthBytes: blockBytes };
    for await (const { data } of place.data.read(request, withToken(token))) pieces.push(Uint8Array.from(data));
    return Buffer.concat(pieces);
  };
  const succeeds = async (work: Promise<unknown>): Promise<boolean> => {
    const [outcome] = await Promise.allSettled([work]);
    return outcome?.status === 'fulfilled';
  };

  return {
    async tryAsGuest({ vm }, disk) {
      const given = place.driver.lastGiven(vm, disk.name);
      if (!given) return 'none';
      const block = nextBlock(disk);
      const wrote = await succeeds(write(disk, given.accessToken, block));
      const reading = read(disk, given.accessToken, block.offset);
      const didRead = await succeeds(reading);
      if (!wrote && !didRead) return 'refused';
      return wrote && didRead && block.bytes.equals(await reading) ? 'continues' : 'differs';
    },
    async writeAsUser(disk) {
      const { name } = disk;
      const { accessToken } = await place.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 60 });
      await write(disk, accessToken, nextBlock(disk));
      await place.disks.endAccess({ name });
    },
    async missingAsGuest({ vm }, disk) {
      const given = place.driver.lastGiven(vm, disk.name);
      if (!given) throw new Error(`${vm} was never given ${disk.name}`);
      let missing = 0;
      for (const { offset, bytes } of acknowledged.get(disk.name) ?? []) {
        if (!bytes.equals(await read(disk, given.accessToken, offset))) missing += 1;
      }
      return missing;
    },
  };
};
