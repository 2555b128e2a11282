import { createHash } from 'node:crypto';
import { choice } from '../../services/disk/src/fleet/choice.ts';
import { hashOf, type KnownHost } from '../../services/disk/src/fleet/known-host.ts';
import { benchOf } from './bench.ts';

/** Decisions of a sample. */
const decisions = { of: 2_000, ofFloor: 100 };
const sizeGib = 8;

/**
 * Choices of a disk host a second for disks of different sets, by the code that a control process uses; `size` is the number of
 * hosts. Peer, alternately: rendezvous hashing as it is usually written, with one SHA-256 for each pair of set and host.
 */
export const placement = benchOf(
  { name: 'placement', unit: 'choices/s', sizes: [10, 1_000], smoke: 10 },
  async ({ size, usually, rounds }) => {
    const lease = { freeBytes: 2 ** 40, capacityBytes: 2 ** 41 } as KnownHost['lease'];
    const hosts = Array.from({ length: size }, (_, n): KnownHost => {
      const name = `disk-${n}`;
      return { name, nameHash: hashOf(name), status: 'open', isServing: true, lease, volumeCount: n };
    });
    const choose = (key: string) => choice(hosts, { key, sizeGib })[0];
    const chooseByDigest = (set: string): string | undefined => {
      let [best, digest] = ['', ''];
      for (const { name } of hosts) {
        const own = createHash('sha256').update(`${set}\n${name}`).digest('hex');
        if (own > digest) [best, digest] = [name, own];
      }
      return best;
    };
    const rate = (count: number, chooseOne: (set: string) => string | undefined): number => {
      const since = performance.now();
      for (let n = 0; n < count; n++)
        if (!chooseOne(`subscriptions/local/resourceGroups/g/diskEncryptionSets/set-${n}`)) throw new Error('no host');
      return (count / (performance.now() - since)) * 1_000;
    };
    const samples = await rounds(9, async () => ({
      value: rate(usually(decisions.of, 10), choose),
      floor: rate(usually(decisions.ofFloor, 1), chooseByDigest),
    }));
    return { values: samples.map(({ value }) => value), floors: samples.map(({ floor }) => floor) };
  },
);
