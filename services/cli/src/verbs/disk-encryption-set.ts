import { Service } from '../request/schema.ts';
import { takesIdentity } from './access-taken.ts';
import { impactNote, setNote } from './notes.ts';
import { named, nounOf, type Verb } from './verb.ts';

const set = nounOf('disk-encryption-set', Service.diskEncryptionSet, 'set');
const impact = nounOf('disk-encryption-set', Service.diskEncryptionSet, 'impact');
const oneSet = named('set', 'diskEncryptionSet');
const settles = { get: 'GetDiskEncryptionSet' } as const;

/** The RPCs of disk-encryption-set. `--key kv1/k1` means the URL of the key's current version. */
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
    offline: {
      flag: 'estate',
      flags: {
        'estate <file>': 'answers for the estate of a file, without services',
        'key <vault[/key]>': 'with --estate: the key that is lost, or the vault',
      },
      run: async ({ estate, key, action }, [word], parts) => {
        const { showOfflineImpact } = await import('../estate/offline-impact.ts');
        const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
        showOfflineImpact({ file: String(estate), key: word ?? text(key), action: text(action) }, parts);
      },
    },
    targets: [
      {
        word: 'vault/key[/version]|vault|principal',
        otherwise: 'to see what depends on a disk host: npx interlock disk-host impact <host>',
        oneOf: [
          { field: 'principal', kind: 'principal', fits: /^(?:me$|set:|principals\/)/ },
          { field: 'key_version', kind: 'keyVersion', fits: /\/versions\/|^[^/]+\/[^/]+\/[^/]+$/ },
          { field: 'key', kind: 'key', fits: /\/keys\/|^(?!vaults\/|diskHosts\/)[^/]+\/[^/]+$/ },
          // The names of disk hosts fit nothing here: `disk-host impact` previews the loss of a host.
          { field: 'vault', kind: 'vault', fits: /^(?!disk-host:|diskHosts\/)/ },
        ],
      },
    ],
  }),
];
