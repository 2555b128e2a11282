import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { CursorConflict } from '@interlock/event-store';
import { seededRandom, virtualClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createNoopMeter } from '@opentelemetry/api';
import type { Deks } from '../keys/deks.ts';
import { createKeyAccess } from '../keys/key-access.ts';
import { platformKey } from '../keys/platform-key.ts';
import type { SetKeys } from '../keys/set-keys.ts';
import { sectorSize } from '../storage/sector.ts';
import { memoryVolumeFiles } from '../storage/volume-files.ts';
import { Headers } from './authentic-headers.ts';
import { VolumeMaking } from './volume-making.ts';
import { Volumes } from './volumes.ts';

const set = 'set';
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const terms = { ttlMs: 10_000, ioPauseTimeoutMs: 3_000 };

test('G8: a copy whose set changes its key twice leaves no data key in memory (CMK-86)', async () => {
  const [clock, random] = [virtualClock(), seededRandom(5)];
  const keyAccess = createKeyAccess(clock, terms);
  let generation = 1;
  const keyOf = () => ({ principal: 'principals/p', keyVersion: `version ${generation}`, generation });
  const grantNow = () => {
    const grant = { accessEpoch: 5, sent: keyAccess.nextCall(), principal: undefined };
    keyAccess.granted({ set, keyVersion: `version ${generation}` }, grant, 'unwrapped');
    return grant;
  };
  const inHand: Uint8Array[] = [];
  const takeDek = (fill: number): Uint8Array => {
    const dek = new Uint8Array(32).fill(fill);
    inHand.push(dek);
    return dek;
  };
  const deks: Deks = {
    generate: () => takeDek(1),
    wrap: async (_dek, _owner, { key }) => ({
      wrap: { keyVersion: key?.keyVersion ?? 'platform', algorithm: 'test', wrapped: new Uint8Array(8) },
      ref: { keyVersion: key?.keyVersion ?? '', generation: key?.generation ?? 0 },
      grant: key && grantNow(),
    }),
    unwrap: async ({ encryption }) => ({
      dek: takeDek(2),
      grant: encryption.type === 'platform' ? undefined : grantNow(),
    }),
    check: async () => grantNow(),
  };
  const setKeys: Pick<SetKeys, 'forEncrypting' | 'inForce'> = {
    forEncrypting: async () => keyOf(),
    inForce: async () => keyOf(),
  };
  const volumes = new Volumes({
    files: memoryVolumeFiles(random),
    platformKey: platformKey(masterKey(random.bytes(32)), random),
    hostEpoch: 1,
    random,
  });
  const records = {
    holder: async () => undefined,
    header: () => assert.fail('no header differs from what its maker knows'),
  };
  const headers = new Headers({
    records,
    volumes,
    log: { warn: assert.fail, error: assert.fail },
    meter: createNoopMeter(),
  });
  const making = new VolumeMaking({
    records,
    volumes,
    headers,
    deks,
    setKeys,
    keyAccess,
    leases: { join: () => undefined, leave: () => undefined, changed: async () => undefined },
    terms,
    clock,
    random,
    mask: undefined,
    signal: new AbortController().signal,
  });
  const request = { name: 'd', location: 'l', uniqueId: randomUUID(), sizeBytes: 2 * sectorSize };
  const [from, to] = [randomUUID(), randomUUID()];
  const platform = { type: 'platform' } as const;
  const volume = await making.fresh(
    { ...request, volumeId: from, encryption: platform, source: undefined },
    cause,
    async (made) => made.volume,
  );

  const source = { name: 'd', encryption: platform, volume };
  const made = await making.fresh(
    { ...request, volumeId: to, encryption: { type: 'customer', set }, source },
    cause,
    async ({ key }) => {
      // The set has another key by now, and then another.
      if (generation === 3) return key?.generation;
      generation += 1;
      throw new CursorConflict(set);
    },
  );
  assert.equal(made, 3);
  assert.ok(inHand.length >= 5, `${inHand.length} were in hand`);
  assert.deepEqual(
    inHand.map((dek) => dek.every((byte) => byte === 0)),
    inHand.map(() => true),
  );
  await volumes.close();
});
