import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hintFor } from './hints.ts';

/** Every reason there is, as the documentation lists them. */
const reasons = [
  ...readFileSync(new URL('../../../../docs/errors.md', import.meta.url), 'utf8').matchAll(/^\| `([A-Z_]+)` \|/gm),
].map(([, reason = '']) => reason);
const facts = {
  key_version: 'vaults/kv1/keys/k1/versions/1',
  disk_encryption_set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1',
};
const variants: readonly Readonly<Record<string, string>>[] = [
  {},
  facts,
  { ...facts, permission: 'wrapKey' },
  { action: 'compute/diskEncryptionSets/read', scope: '/', rpc: 'PreviewImpact' },
];
const vaults = ['ACCESS_POLICY', 'ROLE_ASSIGNMENT'].map((permissionModel) => ({ permissionModel, resourceGroup: 'g' }));

test('a shell takes the command that a hint ends with, and nothing that is said about it', () => {
  assert.ok(reasons.length > 100, 'the reasons are found');
  const hints = reasons.flatMap((reason) =>
    variants.flatMap((about) =>
      [undefined, ...vaults].flatMap((known) => hintFor(reason, about, (name) => name, known) ?? []),
    ),
  );
  const commands = hints.flatMap((hint) => {
    const at = hint.lastIndexOf('interlock ');
    return at < 0 ? [] : [hint.slice(at)];
  });
  assert.ok(commands.length > 50, 'there are hints with commands');
  for (const command of commands) assert.match(command, /^interlock [^()#]*(#.*)?$/);
});
