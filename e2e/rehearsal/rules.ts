/**
 * Every rule that the rehearsal judges, in the order of their numbers: what it promises, and the parts of the rehearsal that must
 * show it. A rule holds if each of its parts has findings about it, and all of them hold.
 */
export const rules = {
  'CMK-01': { title: 'A vault administrator creates the vault', parts: ['vault', 'record'] },
  'CMK-02': { title: 'The vault makes an RSA key, or takes one that is brought', parts: ['keys'] },
  'CMK-03': { title: 'A disk encryption set ties many disks to one key in a vault', parts: ['sets', 'rotation'] },
  'CMK-04': { title: 'Creating a set creates a managed identity for it', parts: ['sets'] },
  'CMK-05': {
    title: 'A set without a grant is created; the missing grant shows at the first disk, which then works once granted',
    parts: ['sets', 'grants'],
  },
  'CMK-06': {
    title: 'A VM user puts new and existing disks under the set, without any permission on the vault',
    parts: ['disks'],
  },
  'CMK-07': { title: 'Only the disk service uses the key, and only as the identity of the set', parts: ['record'] },
  'CMK-08': {
    title: 'The vault wraps and unwraps data keys; data itself never goes through the RSA key',
    parts: ['record', 'files', 'machines'],
  },
  'CMK-09': { title: 'Users see no difference: reads and writes just work', parts: ['machines'] },
  'CMK-10': {
    title: 'The customer stays in control: they can disable the key, delete it or withdraw access at any time',
    parts: ['lost key', 'every way', 'deletion'],
  },
  'CMK-11': { title: 'Key use can be audited in the vault’s own record', parts: ['record'] },
  'CMK-12': { title: 'Data on disk is encrypted with AES-256 under a data key of each disk', parts: ['files'] },
  'CMK-13': { title: 'A data key is stored only wrapped, by the customer’s RSA key', parts: ['files'] },
  'CMK-15': {
    title: 'Rotation wraps data keys again; data is not rewritten and the data key stays',
    parts: ['rotation', 'files'],
  },
  'CMK-16': { title: 'Rotation does not affect running machines', parts: ['rotation'] },
  'CMK-20': { title: 'Only RSA keys of 2,048, 3,072 or 4,096 bits are accepted', parts: ['keys'] },
  'CMK-25': { title: 'The identity needs all of get, wrapKey and unwrapKey', parts: ['grants'] },
  'CMK-27': {
    title: 'A grant of the wrong model has no effect: switching the model withdraws the access',
    parts: ['every way'],
  },
  'CMK-38': {
    title: 'A set without an identity is cut off from its key, until it has one that was granted',
    parts: ['every way'],
  },
  'CMK-80': {
    title: 'Naming another version for the set moves all its disks, without a request per disk',
    parts: ['rotation'],
  },
  'CMK-82': { title: 'Machines are neither restarted nor paused by rotation', parts: ['rotation'] },
  'CMK-83': {
    title: 'Both versions stay enabled until everything is rewrapped; then the old one may go',
    parts: ['rotation', 'old version', 'record'],
  },
  'CMK-100': {
    title: 'Disabling or deleting the key stops every machine with any disk under it',
    parts: ['lost key', 'every way', 'deletion'],
  },
  'CMK-101': { title: 'That holds for Premium SSD, Standard SSD and Standard HDD', parts: ['lost key'] },
  'CMK-102': {
    title: 'A machine with only ultra disks under the key keeps running; given back and started, it does not come up',
    parts: ['lost key', 'deletion', 'cold start'],
  },
  'CMK-103': { title: 'A machine with ultra and other disks under the key stops', parts: ['lost key'] },
  'CMK-104': { title: 'A key that is out of its dates serves no machine', parts: ['every way'] },
  'CMK-105': {
    title: 'Withdrawing the identity’s access blocks all data under the key',
    parts: ['lost key', 'every way'],
  },
  'CMK-106': {
    title: 'While the key is unusable none of these machines can be started',
    parts: ['lost key', 'every way', 'cold start'],
  },
  'CMK-110': {
    title: 'What needs the data key fails at once with the reason, and leaves nothing half-made',
    parts: ['deletion'],
  },
  'CMK-111': {
    title: 'Machines without a disk under the key, and those under another key of the vault, are not touched',
    parts: ['lost key', 'deletion'],
  },
  'CMK-120': {
    title: 'Enabling the key again makes the disks usable and the machines startable',
    parts: ['lost key', 'every way'],
  },
  'CMK-121': { title: 'Assigning another key is the second way back, also from a deleted one', parts: ['other key'] },
  'CMK-122': { title: 'A deleted key that is recovered brings them back', parts: ['every way'] },
  'CMK-123': {
    title:
      'Access that is given back does, too: by a policy, a role, the key’s own operations or the vault’s network, in part or in whole',
    parts: ['every way'],
  },
  'CMK-126': {
    title: 'The ultra machine comes up again after the key is enabled, or another one assigned',
    parts: ['other key', 'every way'],
  },
  'CMK-127': {
    title: 'What is read after the return is what was written before, byte for byte',
    parts: ['files', 'other key', 'lost key', 'every way'],
  },
  'CMK-130': { title: 'A set that disks use cannot be deleted', parts: ['set in use'] },
  'CMK-133': {
    title: 'A deleted vault takes its keys along; roles on it do not come back with it',
    parts: ['every way'],
  },
  'CMK-144': {
    title: 'The record has each wrap, unwrap and refusal: who, key version, result, correlation, address, duration',
    parts: ['record'],
  },
} as const;

/** `CMK-100` */
export type RuleId = keyof typeof rules;

/** A part of the rehearsal that must show a rule. */
export type PartOf<Id extends RuleId> = (typeof rules)[Id]['parts'][number];
