import type { Workload } from '@interlock/rpc';

/**
 * Categories of the streams of each service. Consumers refuse a fact of another stream. A test compares this with the code
 * (`e2e/architecture`).
 */
export const publishedStreams: Readonly<Record<Workload, readonly string[]>> = {
  identity: ['tenant', 'subscription', 'principal', 'role_assignment', 'owner_removal', 'grant_holder', 'signing_key'],
  'key-vault': ['vault', 'key'],
  'disk-encryption-set': ['set'],
  disk: ['disk', 'snapshot', 'diskhost'],
  compute: ['vm', 'vmhost'],
};
