import { Service } from '../request/schema.ts';
import { takesIdentity } from './access-taken.ts';
import { impactNote, setNote } from './notes.ts';
import { named, nounOf, type Verb } from './verb.ts';

const set = nounOf('disk-encryption-set', Service.diskEncryptionSet, 'set');
const impact = nounOf('disk-encryption-set', Service.diskEncryptionSet, 'impact');
const oneSet = named('set', 'diskEncryptionSet');
const settles = { get: 'GetDiskEncryptionSet' } as const;

/** The RPCs of disk-encryption-set. `--key kv1/k1` stands for the URL of the key's current version. */
export const diskEncryptionSetVerbs: readonly Verb[] = [
  set('create', 'CreateDiskEncryptionSet', {
    targets: [{ word: 'set', kind: 'diskEncryptionSet', parent: 'parent', idField: 'disk_encryption_set_id' }],
    aliases: { key: 'key_url' },
    required: ['location', 'key'],
    settles,
    note: setNote,
  }),
  set('show', 'GetDiskEncryptionSet', { targets: oneSet, note: setNote }),
  set('list', 'ListDiskEncryptionSets', {
    kinds: { parent: 'container' },
    defaults: { parent: 'group-or-subscription' },
  }),
  set('update', 'UpdateDiskEncryptionSet', { targets: oneSet, settles, takesAccess: takesIdentity }),
  set('delete', 'DeleteDiskEncryptionSet', { targets: oneSet, settles }),
  set('assign-key', 'AssignKey', {
    targets: oneSet,
    required: ['key'],
    aliases: { key: 'key_url' },
    settles,
    takesKeyOwner: true,
    note: setNote,
  }),
  set('resume-rotation', 'ResumeRotation', { targets: oneSet, settles, takesKeyOwner: true }),
  set('resources', 'ListAssociatedResources', { targets: oneSet }),
  set('watch', 'WatchDiskEncryptionSet', { targets: oneSet }),
  impact('preview', 'PreviewImpact', {
    isDefault: true,
    note: impactNote,
    targets: [
      {
        word: 'vault/key[/version]|vault|principal',
        oneOf: [
          { field: 'principal', kind: 'principal', fits: /^(?:me$|set:|principals\/)/ },
          { field: 'key_version', kind: 'keyVersion', fits: /\/versions\/|^[^/]+\/[^/]+\/[^/]+$/ },
          { field: 'key', kind: 'key', fits: /\/keys\/|^(?!vaults\/)[^/]+\/[^/]+$/ },
          { field: 'vault', kind: 'vault', fits: /^/ },
        ],
      },
    ],
  }),
];
