import type { Clients } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import type { Fleet } from './fleet.ts';
import type { ToldFacts } from './told-facts.ts';

/** A revocation of any size must be over by then. */
const stopMs = 300_000;

/** Takes the key away; resolves when the last stop was told and the machine it is about is listed as stopped. */
export const revoke = async (clients: Clients, fleet: Fleet, told: ToldFacts): Promise<void> => {
  told.begin();
  await clients.keyVault.disableKeyVersion({ name: fleet.keyVersion });
  const limit = new AbortController();
  const late = setTimeout(() => limit.abort(), stopMs);
  const tooLate = new Promise<never>((_, reject) => {
    limit.signal.addEventListener('abort', () =>
      reject(new Error(`${told.count()} of ${fleet.stopping} machines were told as stopped within ${stopMs} ms`)),
    );
  });
  await Promise.race([told.reached(fleet.stopping), tooLate]);
  clearTimeout(late);
  // Rows move with their events, so what is told is listed: seen here for the last, and for all of them after the round.
  const { virtualMachines } = await clients.compute.listVirtualMachines({
    parent: fleet.group,
    powerState: 'STOPPED',
    pageSize: 1,
  });
  if (virtualMachines.length === 0) throw new Error('a machine that is told as stopped is not listed as such');
};

/** Every machine of the fleet is listed, those that had to stop as stopped because of the key, all others as running. */
export const assertListed = async (clients: Clients, { group, stopping, size }: Fleet): Promise<void> => {
  const counts = { stopped: 0, running: 0 };
  let pageToken = '';
  do {
    const page = await clients.compute.listVirtualMachines({ parent: group, pageSize: 1_000, pageToken });
    for (const { powerState, stopReason } of page.virtualMachines) {
      if (powerState === 'STOPPED' && stopReason?.reason === 'KEY_DISABLED') counts.stopped += 1;
      if (powerState === 'RUNNING') counts.running += 1;
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  if (counts.stopped !== stopping || counts.running !== size - stopping) {
    throw new Error(
      `of ${size} machines ${stopping} must be stopped and the others running, not ${counts.stopped} and ${counts.running}`,
    );
  }
};

/** Gives the key back and has every machine run again, and everything come to rest. */
export const restore = async (clients: Clients, fleet: Fleet): Promise<void> => {
  await fleet.rest();
  await giveBack(clients, fleet);
  await fleet.rest();
  await fleet.startAgain();
  await fleet.rest();
  await fleet.computeSql`vacuum`;
};

/** Gives the key back; resolves once every set may use it. */
export const giveBack = async (clients: Clients, fleet: Fleet): Promise<void> => {
  await clients.keyVault.enableKeyVersion({ name: fleet.keyVersion });
  await until('the sets may use their key', async () => {
    const sets = await Promise.all(fleet.lost.map(({ name }) => clients.sets.getDiskEncryptionSet({ name })));
    return sets.every(({ keyAccess }) => keyAccess.every(({ state }) => state === 'AVAILABLE'));
  });
};
