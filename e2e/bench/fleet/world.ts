import { createPublicKey, type JsonWebKey, type KeyObject, randomUUID } from 'node:crypto';
import type { Clients } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import { allowSet, makeWorld } from '../../cloud/world.ts';
import { type FleetPlace, type FleetSet, fleetLocation } from './plan.ts';

/** Sets a fleet is under before its key is lost. */
const lostSets = 3;

/** A vault with two keys, and sets under them that may use them. */
export interface FleetWorld extends FleetPlace {
  /** The version that is going to be lost. */
  readonly keyVersion: string;
}

/** Makes keys and sets for a fleet through the API, as people would. */
export const makeFleetWorld = async (clients: Clients): Promise<FleetWorld> => {
  const world = await makeWorld(clients, []);
  const { group, vault } = world;
  const keptVersion = await clients.keyVault.createKey({
    parent: vault,
    keyId: 'k2',
    requestId: randomUUID(),
    keySizeBits: 2048,
  });
  const keyUrls = await Promise.all(
    [world.keyVersion, keptVersion.name].map(async (name) => {
      const { keyUrl } = await clients.keyVault.getKeyVersion({ name });
      return keyUrl;
    }),
  );
  const [lostUrl = '', keptUrl = ''] = keyUrls;
  const newSet = async (id: string, keyUrl: string): Promise<string> => {
    const { name } = await clients.sets.createDiskEncryptionSet({
      parent: group,
      diskEncryptionSetId: id,
      location: fleetLocation,
      keyUrl,
    });
    const set = await until(`${name} is made`, async () => {
      const found = await clients.sets.getDiskEncryptionSet({ name });
      return found.provisioningState === 'SUCCEEDED' && found;
    });
    await allowSet(clients, vault, set.identity?.principal ?? '');
    return name;
  };
  const others = await Promise.all(Array.from({ length: lostSets - 1 }, (_, n) => newSet(`lost-${n}`, lostUrl)));
  const kept = await newSet('kept', keptUrl);
  const [first, ...more] = await Promise.all([world.set, ...others].map((name) => fleetSet(clients, name)));
  if (!first) throw new Error('a fleet has at least one set');
  return { group, keyVersion: world.keyVersion, lost: [first, ...more], kept: await fleetSet(clients, kept) };
};

const fleetSet = async (clients: Clients, name: string): Promise<FleetSet> => {
  const set = await until(`${name} may use its key`, async () => {
    const found = await clients.sets.getDiskEncryptionSet({ name });
    return found.keyAccess.length > 0 && found.keyAccess.every(({ state }) => state === 'AVAILABLE') && found;
  });
  const keyVersion = set.activeKey?.keyVersion ?? '';
  return {
    name,
    principal: set.identity?.principal ?? '',
    keyVersion,
    generation: set.generation,
    publicKey: await publicKeyOf(clients, keyVersion),
  };
};

const publicKeyOf = async (clients: Clients, name: string): Promise<KeyObject> => {
  const { publicKey } = await clients.keyVault.getKeyVersion({ name });
  if (!publicKey) throw new Error(`${name} has no public key`);
  const { kty, n, e } = JSON.parse(publicKey.jwkJson) as JsonWebKey;
  return createPublicKey({ key: { kty: kty ?? '', n: n ?? '', e: e ?? '' }, format: 'jwk' });
};
