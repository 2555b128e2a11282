import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent, StreamName } from '@interlock/event-store';
import type { ToFact } from '@interlock/messaging';
import { toFact as machineFacts } from '../../services/compute/src/published.ts';
import { toFact as diskFacts } from '../../services/disk/src/published.ts';
import { toFact as setFacts } from '../../services/disk-encryption-set/src/published.ts';
import { toFact as identityFacts } from '../../services/identity/src/published.ts';
import { keyUrls } from '../../services/key-vault/src/names.ts';
import { toFact as vaultFacts } from '../../services/key-vault/src/published.ts';

/** Streams that each service publishes. */
const told: Readonly<Record<string, { readonly toFact: ToFact; readonly streams: readonly StreamName[] }>> = {
  identity: { toFact: identityFacts, streams: ['principal-p', 'role_assignment-r'] },
  'key-vault': { toFact: vaultFacts(keyUrls('vault.test')), streams: ['vault-v', 'key-vaults/v/keys/k'] },
  'disk-encryption-set': { toFact: setFacts, streams: ['set-s'] },
  disk: { toFact: diskFacts, streams: ['disk-d', 'snapshot-s'] },
  compute: { toFact: machineFacts, streams: ['vm-v'] },
};

for (const [service, { toFact, streams }] of Object.entries(told)) {
  test(`G7: ${service} fails on an event type that its release does not know, instead of skipping it`, () => {
    for (const stream of streams) {
      const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
      const place = { position: 1, stream, version: 1, id: 'e', time: 0 };
      const recorded: RecordedEvent = { ...place, type: 'OfTheNextRelease', schema: 1, data: {}, cause };
      assert.throws(() => toFact(recorded), /does not know the event OfTheNextRelease/, stream);
    }
  });
}
