import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Place } from './place.ts';
import { rowsOf } from './row.ts';
import { need, on, type Rule, role, roleOr } from './rule.ts';

/** An etag that no stream reaches: a permitted caller gets ETAG_MISMATCH, and nothing changes for the other cells. */
const staleEtag = '999999';
const read = 'compute/diskEncryptionSets/read';
const write = 'compute/diskEncryptionSets/write';
const operator = { near: 'operator' } as const;

/** Who may call disk-encryption-set. No RPC of it needs a permission on the vault (CMK-06). */
export const diskEncryptionSetTable = rowsOf(
  'disk-encryption-set',
  DiskEncryptionSetServiceDefinition,
)({
  createDiskEncryptionSet: {
    rule: role(need(write, on.parent, operator)),
    request: ({ group, policyVault }) => ({
      parent: group,
      diskEncryptionSetId: 'new',
      location: 'westeurope',
      keyUrl: policyVault.keyUrl,
    }),
  },
  getDiskEncryptionSet: {
    rule: roleOr(['disk', 'compute'], 'key-vault', need(read, on.set)),
    request: ({ set }) => ({ name: set }),
  },
  listDiskEncryptionSets: { rule: role(need(read, on.parent)), request: ({ group }) => ({ parent: group }) },
  updateDiskEncryptionSet: {
    rule: role(need(write, on.set, operator)),
    request: ({ set }) => ({ name: set, autoRestart: true, etag: staleEtag }),
  },
  deleteDiskEncryptionSet: {
    rule: role(need('compute/diskEncryptionSets/delete', on.set, operator)),
    request: ({ set }) => ({ name: set, etag: staleEtag }),
  },
  assignKey: {
    rule: role(need(write, on.set, operator)),
    request: ({ set, policyVault }) => ({ name: set, keyUrl: policyVault.keyUrl, etag: staleEtag }),
  },
  listAssociatedResources: { rule: role(need(read, on.set)), request: ({ set }) => ({ name: set }) },
  // CMK-10: a caller that may disable the key may preview that, without permission on the sets.
  previewImpact: [
    ...(['policyVault', 'roleVault'] as const).map((model) => ({
      when: `of a key, ${model === 'policyVault' ? 'access policies' : 'role assignments'}`,
      rule: { kind: 'vault', model, needs: [{ permission: 'UPDATE', of: ({ key }) => key }] } satisfies Rule,
      request: (place: Place) => ({ target: { $case: 'key', value: place[model].key }, action: 'DISABLE' }) as const,
    })),
    {
      when: 'of an identity',
      rule: role(need(read, on.set)),
      request: ({ identity }) => ({ target: { $case: 'principal', value: identity } }),
    },
  ],
  resumeRotation: {
    rule: role(need(write, on.set, operator)),
    request: ({ set }) => ({ name: set, etag: staleEtag }),
  },
  watchDiskEncryptionSet: { rule: role(need(read, on.set)), request: ({ set }) => ({ name: set }) },
});
