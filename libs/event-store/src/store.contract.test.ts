import { after, before, describe } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { memoryStore } from './memory-store.ts';
import { openPostgresStore } from './postgres-store.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';
import { storeContract } from './test-store-contract.ts';

storeContract('memory', async () => memoryStore({ clock: systemClock }));

describe('on Postgres', () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());
  storeContract('Postgres', () => openPostgresStore({ url: database.url, clock: systemClock, pollIntervalMs: 20 }));
});
