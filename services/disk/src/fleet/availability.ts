import { concerns, type Grant } from '@interlock/access';
import type { DiskHost } from '../host/disk-host.ts';
import { type HostLossTable, hostLossKey } from '../host/keys/host-losses.ts';
import type { SetKeyVersion } from '../host/keys/key-access.ts';
import type { KeyUnavailable } from '../host/keys/key-reasons.ts';
import type { LossTable } from '../host/keys/set-losses.ts';

/** A key that a disk or snapshot depends on. */
export interface KeyAtHost {
  /** Unique name of the host of the disk. */
  readonly host: string;
  /** Undefined under a key of the platform, and before the disk exists. */
  readonly key: SetKeyVersion | undefined;
  /** The grant of an open disk: a published loss that does not concern it does not count. */
  readonly opened?: Grant | undefined;
}

/** Why disks are unavailable. The host of a disk knows; every other process reads what the sets published and what the host stored. */
export interface Availability {
  /** Why each is out of reach, in the same order; undefined for one that is not, as far as known. */
  lossesOf(keys: readonly KeyAtHost[]): Promise<readonly (KeyUnavailable | undefined)[]>;
  /** Whether any key version of a set is out of reach, at any host. */
  isAnyLost(set: string): Promise<boolean>;
}

/** @param self unique name of this host */
export const openAvailability = (parts: {
  readonly host: Pick<DiskHost, 'lossOf' | 'isAnyLost'>;
  readonly self: string;
  readonly losses: Pick<LossTable, 'ofSets'>;
  readonly hostLosses: Pick<HostLossTable, 'ofMany' | 'isAnyOf'>;
}): Availability => {
  const { host, self, losses, hostLosses } = parts;
  return {
    async lossesOf(keys) {
      const elsewhere = keys.flatMap(({ host: at, key }) => (key === undefined || at === self ? [] : [{ at, key }]));
      const published = elsewhere.length === 0 ? new Map() : await losses.ofSets(elsewhere.map(({ key }) => key.set));
      const found =
        elsewhere.length === 0
          ? new Map()
          : await hostLosses.ofMany(elsewhere.map(({ at, key }) => hostLossKey(at, key)));
      return keys.map(({ host: at, key, opened }) => {
        if (key === undefined) return undefined;
        if (at === self) return host.lossOf(key, opened);
        const loss = published.get(key.set)?.get(key.keyVersion);
        const isOver = loss !== undefined && opened !== undefined && !concerns(loss, opened);
        return loss === undefined || isOver ? found.get(hostLossKey(at, key)) : loss;
      });
    },
    isAnyLost: async (set) =>
      host.isAnyLost(set) || (await losses.ofSets([set])).size > 0 || (await hostLosses.isAnyOf(set)),
  };
};
