import { computeVerbs } from './compute.ts';
import { diskVerbs } from './disk.ts';
import { diskEncryptionSetVerbs } from './disk-encryption-set.ts';
import { identityVerbs } from './identity.ts';
import { keyVaultVerbs } from './key-vault.ts';
import { messagingVerbs } from './messaging.ts';
import type { Verb } from './verb.ts';

/** Every RPC that is one command, without the data path of disk (`disk-data.ts`). */
export const verbs: readonly Verb[] = [
  ...identityVerbs,
  ...keyVaultVerbs,
  ...diskEncryptionSetVerbs,
  ...diskVerbs,
  ...computeVerbs,
  ...messagingVerbs,
];

/** Description of each noun, for `--help`. */
export const nouns: Readonly<Record<string, string>> = {
  vault: 'vaults and the permissions on their keys',
  key: 'keys and their versions: enable, disable, use them',
  audit: 'the record of a vault: every use, change and refusal',
  hold: 'whether the key vault refuses every use of a key, as it does after a restore',
  set: 'disk encryption sets: put disks under one key',
  impact: 'preview of what stops when a key is taken away',
  disk: 'encrypted disks and their data',
  snapshot: 'snapshots of disks',
  lease: 'leases of disk hosts: how long unwrapped data keys may be used',
  'disk-host': 'disk hosts: what they have, and whether they take new disks',
  vm: 'virtual machines',
  'vm-host': 'VM hosts: which machines are on there, and whether they take new guests',
  principal: 'users, applications, managed identities',
  role: 'roles and their assignments',
  tenant: 'tenants',
  subscription: 'subscriptions',
  token: 'access tokens',
  'signing-key': 'the keys that sign tokens',
  parked: 'facts that a service could not apply',
  consumers: 'consumer lag of the services',
  relay: 'whether a service can publish its facts',
  replicas: 'the processes of each service: working, or gone',
  feed: 'facts that a service published',
  platform: 'calls between services; needs the identity of a service',
};
