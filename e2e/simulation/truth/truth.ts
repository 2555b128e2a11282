import type {
  UnwrapKeysRequest,
  UnwrapKeysResponse,
} from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { boundsOf } from '@interlock/lab/judge/invariants/bounds';
import { Truth } from '@interlock/lab/judge/model/truth';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import { StoredDisks } from './stored-disks.ts';

/** The truth about a simulated cloud: the key versions of disks are those in the headers on storage. */
export type SimulatedTruth = Truth<StoredDisks>;

export const openTruth = (world: SimulatedCloud): SimulatedTruth => {
  const nowMs = (): number => world.clock.monotonicMs();
  const disks = new StoredDisks(nowMs, world.volumesOf, world.storage);
  const vaultNow = () => world.clockOf('key-vault');
  const truth = new Truth({ nowMs, vaultNow, disks, bounds: boundsOf(world.settings) });
  world.onResponse(({ service, path, sentMs, request, response }) => {
    if (service !== 'key-vault' || response === undefined || !path.endsWith('/UnwrapKeys')) return;
    const { outcomes } = response as UnwrapKeysResponse;
    for (const [n, { unwrap }] of (request as UnwrapKeysRequest).items.entries()) {
      if (unwrap && outcomes[n]?.outcome?.$case === 'unwrapped') disks.noteUnwrap(unwrap.resource, sentMs);
    }
  });
  world.storage.onFlushFailed((volumeId) => {
    for (const disk of disks.disks.values()) {
      if (disk.volumeId === volumeId) truth.contents.get(disk.name)?.failFlush();
    }
  });
  return truth;
};
