import { randomBytes, randomUUID } from 'node:crypto';
import type { Clients } from '../cloud/clients.ts';
import { location } from '../cloud/world.ts';
import { inFlight } from './in-flight.ts';

/** A key version, and what it wrapped. */
export interface WrappedKeys {
  readonly keyVersion: string;
  /** Wraps of different payloads as long as those of disks. */
  readonly wrapped: readonly Buffer[];
}

/** DEK ‖ DEK id ‖ disk id. */
const payloadBytes = 64;

/** Makes a vault with a key that the caller may use for everything, and wraps with it. */
export const makeWrappedKeys = async (
  { identity, keyVault, tokens }: Clients,
  bits: number,
  count: number,
): Promise<WrappedKeys> => {
  const [subscription] = (await identity.listSubscriptions({})).subscriptions;
  const tag = randomBytes(4).toString('hex');
  const vault = await keyVault.createVault({
    vaultId: `kv-${tag}`,
    resourceGroup: `${subscription?.name}/resourceGroups/g${tag}`,
    location,
    sku: 'STANDARD',
    permissionModel: 'ACCESS_POLICY',
    softDeleteRetentionDays: 7,
    purgeProtectionEnabled: true,
  });
  const claims = (await tokens.token('interlock:key-vault')).split('.')[1] ?? '';
  const { sub } = JSON.parse(Buffer.from(claims, 'base64url').toString());
  const accessPolicy = { principal: `principals/${sub}`, keyPermissions: ['ALL' as const] };
  await keyVault.setAccessPolicy({ name: vault.name, accessPolicy });
  const { name } = await keyVault.createKey({
    parent: vault.name,
    keyId: 'k1',
    requestId: randomUUID(),
    keySizeBits: bits,
  });
  const wrapped: Buffer[] = [];
  await inFlight(8, count, async () => {
    const plaintextKey = randomBytes(payloadBytes);
    const { wrappedKey } = await keyVault.wrapKey({ name, algorithm: 'RSA_OAEP_256', plaintextKey });
    wrapped.push(Buffer.from(wrappedKey));
  });
  return { keyVersion: name, wrapped };
};
