import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { createScope } from '@interlock/runtime';
import { makeWorld } from '../cloud/world.ts';
import { openCloud } from './bench.ts';

// Starts two clouds, one after the other, to see that a bench measures the second as it does the first.
test('the key-vault of a second cloud in a run is not on hold because of the first', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const options = { data: openDataFolder(folder), replicas: undefined, diskHosts: undefined, vmHosts: undefined };
  for (const _ of ['first', 'second']) {
    const scope = createScope();
    try {
      const { clients } = await openCloud(options, scope);
      assert.equal((await clients.keyVault.getHold({})).hold, undefined);
      // Uses a key, and leaves more events than the next store begins with.
      await makeWorld(clients, [['PREMIUM_SSD']]);
    } finally {
      await scope.close();
    }
  }
});
