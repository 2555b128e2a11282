import { computeVerbs } from './compute.ts';
import { diskVerbs } from './disk.ts';
import { diskEncryptionSetVerbs } from './disk-encryption-set.ts';
import { identityVerbs } from './identity.ts';
import { keyVaultVerbs } from './key-vault.ts';
import { messagingVerbs } from './messaging.ts';
import type { Verb } from './verb.ts';

/** Every RPC that is one command, but for the data path of disk (`disk-data.ts`). */
export const verbs: readonly Verb[] = [
  ...identityVerbs,
  ...keyVaultVerbs,
  ...diskEncryptionSetVerbs,
  ...diskVerbs,
  ...computeVerbs,
  ...messagingVerbs,
];

/** What each noun is, for `--help`. */
export const nouns: Readonly<Record<string, string>> = {
  vault: 'vaults, and who may use their keys',
  key: 'keys and their versions; enabling, disabling, using them',
  audit: 'the record of a vault: every use, change and refusal',
  hold: 'whether the vault lets nobody use a key, as it does after a restore',
  set: 'disk encryption sets: tie disks to one key',
  impact: 'what taking a key away would do, asked beforehand',
  disk: 'encrypted disks and their data',
  snapshot: 'snapshots of disks',
  lease: 'leases of disk hosts: for how long unwrapped data keys may be used',
  vm: 'virtual machines',
  principal: 'users, applications, managed identities',
  role: 'roles, and who has them where',
  tenant: 'tenants',
  subscription: 'subscriptions',
  token: 'access tokens',
  'signing-key': 'the keys that sign tokens',
  parked: 'facts a service could not take in',
  consumers: 'how far services have read each other',
  relay: 'whether a service can tell its facts',
  replicas: 'the processes of each service: which work, stand by, or are gone',
  feed: 'facts a service told',
  platform: 'what services ask each other; needs the identity of a service',
};
