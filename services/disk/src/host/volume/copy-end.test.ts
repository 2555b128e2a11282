import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { seededRandom, virtualClock } from '@interlock/runtime';
import { openDiskCipher } from '../cipher/dek.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import type { Deks } from '../keys/deks.ts';
import { createKeyAccess } from '../keys/key-access.ts';
import type { KeyGrant } from '../keys/lease.ts';
import { EncryptedDisk } from '../pieces/encrypted-disk.ts';
import { createPlatter } from '../storage/memory-block-store.ts';
import { pieceSize } from '../storage/sector.ts';
import { openCopyEnd } from './copy-end.ts';
import { volumeOver } from './test-volume.ts';
import type { Volumes } from './volumes.ts';

const key = { set: 'set', keyVersion: 'one' };
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const terms = { ttlMs: 10_000, ioPauseTimeoutMs: 3_000 };
const pieces = 3;
const volume = {
  volumeId: 'v',
  dekId: 'k',
  dekDiskId: 'u',
  dekAuthenticator: 'a',
  headerSequence: 1,
  headerDigest: 'one',
};

const random = seededRandom(3);
const content = Buffer.concat(Array.from({ length: pieces }, (_, n) => Buffer.alloc(pieceSize, n + 1)));
const headerUnder = (keyVersion: string) => ({ wrap: { keyVersion } }) as DiskHeader;

/** Storage that holds `content` under a DEK. */
const filled = async (dek: Uint8Array) => {
  const platter = createPlatter('source', pieces * pieceSize, random);
  const disk = new EncryptedDisk(volumeOver(platter.open()), openDiskCipher(Buffer.from(dek), undefined));
  await disk.write(0, content, () => undefined);
  await disk.close();
  return platter;
};

/** Unwraps a DEK and checks keys as the vault does, and waits for what the test does meanwhile. */
class WatchedDeks {
  unwraps = 0;
  /** The key version that was unwrapped last. */
  unwrapped = '';
  /** Key versions that were checked at the end of the copy. */
  readonly confirmed: string[] = [];
  whileConfirmed = async (): Promise<void> => undefined;
  whileUnwrapped = async (): Promise<void> => undefined;
  readonly #dek: Uint8Array;
  readonly #newGrant: () => KeyGrant;
  readonly #first: KeyGrant;

  constructor(dek: Uint8Array, newGrant: () => KeyGrant, first: KeyGrant) {
    this.#dek = dek;
    this.#newGrant = newGrant;
    this.#first = first;
  }

  async unwrap(_holder: unknown, { wrap }: DiskHeader, _cause: unknown, grant = this.#first) {
    this.unwraps += 1;
    this.unwrapped = wrap.keyVersion;
    await this.whileUnwrapped();
    return { dek: Buffer.from(this.#dek), grant };
  }

  async check(_holder: unknown, { wrap }: DiskHeader): Promise<KeyGrant> {
    this.confirmed.push(wrap.keyVersion);
    await this.whileConfirmed();
    return this.#newGrant();
  }
}

/** A source of three pieces under a lease that the test expires and renews. */
const world = async () => {
  const clock = virtualClock();
  const keyAccess = createKeyAccess(clock, terms);
  const dek = random.bytes(32);
  const platter = await filled(dek);
  const newGrant = (): KeyGrant => ({ accessEpoch: 5, sent: keyAccess.nextCall(), principal: undefined });
  const grant = newGrant();
  keyAccess.granted(key, grant, 'unwrapped');
  const deks = new WatchedDeks(dek, newGrant, grant);
  let header = headerUnder(key.keyVersion);
  const volumes = { keepHeader: () => async () => undefined, open: async () => volumeOver(platter.open()) };
  let drop: (() => void) | undefined;
  const source = await openCopyEnd(
    {
      records: { holder: async () => undefined },
      volumes: volumes as unknown as Volumes,
      headers: { inspect: async () => header },
      deks: deks as unknown as Deks,
      keyAccess,
      leases: {
        join: (_key, user) => {
          drop = () => user.drop('ended');
        },
        leave: () => undefined,
        changed: (_key, withinMs, signal) => clock.sleep(Math.min(withinMs, 100), signal),
      },
      terms,
      clock,
      mask: undefined,
      signal: new AbortController().signal,
    },
    { name: 'snapshot', encryption: { type: 'customer', set: key.set }, volume },
    cause,
  );
  return {
    ...{ clock, keyAccess, source, deks },
    /** Expires the grant and drops the DEK. */
    lapse: async () => {
      await clock.sleep(terms.ttlMs);
      drop?.();
    },
    renew: (keyVersion = key.keyVersion) => keyAccess.granted({ ...key, keyVersion }, newGrant(), 'unwrapped'),
    /** Moves the source to another key version, as a rotation does. */
    move: (keyVersion: string) => {
      header = headerUnder(keyVersion);
    },
    /** @param after called after the first piece */
    async copy(after: () => Promise<unknown>): Promise<Buffer> {
      const copied: Uint8Array[] = [];
      for await (const piece of source.disk.read(0, source.disk.size(), source.check)) {
        copied.push(Buffer.from(piece));
        if (copied.length === 1) await after();
      }
      return Buffer.concat(copied);
    },
  };
};

const reasonOf = (copy: Promise<unknown>): Promise<string> =>
  copy.then(
    () => 'done',
    (error: unknown) => (error instanceof Rejection ? error.reason : String(error)),
  );

test('G1: a copy pauses without a lease; with a new lease it unwraps the DEK again and continues', async () => {
  const { clock, source, copy, lapse, renew, deks } = await world();
  await clock.drive(
    (async () => {
      const copied = await copy(async () => {
        await lapse();
        void clock.sleep(1_000).then(() => renew());
      });
      assert.ok(copied.equals(content));
      assert.equal(deks.unwraps, 2);
      await source.close();
    })(),
  );
});

test('G1: a copy without a lease fails with KEY_VAULT_UNREACHABLE after the I/O pause timeout', async () => {
  const { clock, copy, lapse } = await world();
  await clock.drive(
    (async () => {
      let lapsedMs = 0;
      const ended = await reasonOf(
        copy(async () => {
          await lapse();
          lapsedMs = clock.monotonicMs();
        }),
      );
      assert.equal(ended, 'KEY_VAULT_UNREACHABLE');
      assert.equal(clock.monotonicMs() - lapsedMs, terms.ioPauseTimeoutMs);
    })(),
  );
});

test('G6, CMK-89: when the previous key version is disabled, a copy continues under the version its source has moved to', async () => {
  const { clock, source, copy, lapse, renew, move, keyAccess, deks } = await world();
  await clock.drive(
    (async () => {
      const copied = await copy(async () => {
        move('two');
        renew('two');
        keyAccess.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 6 }, 'fact');
        await lapse();
        void clock.sleep(500).then(() => renew('two'));
      });
      assert.ok(copied.equals(content));
      assert.equal(deks.unwrapped, 'two');
      await source.close();
    })(),
  );
});

test('G1, CMK-89: a copy fails if the key version its source has moved to is lost, though the earlier one is usable', async () => {
  const { clock, source, copy, move, renew, keyAccess, deks } = await world();
  await clock.drive(
    (async () => {
      const ended = reasonOf(
        copy(async () => {
          move('two');
          renew('two');
          // The copy continues under the version its source has moved to.
          await source.check();
          assert.equal(deks.unwrapped, 'two');
          const loss = { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 6 } as const;
          keyAccess.lost({ ...key, keyVersion: 'two' }, loss, 'fact');
        }),
      );
      assert.equal(await ended, 'KEY_DISABLED');
      assert.equal(keyAccess.lossOf(key), undefined);
    })(),
  );
});

test('G1, CMK-110: the end of a copy checks the current key of its source, and checks again if that changes meanwhile', async () => {
  const { clock, source, copy, move, renew, deks } = await world();
  await clock.drive(
    (async () => {
      await copy(async () => undefined);
      move('two');
      renew('two');
      deks.whileConfirmed = async () => {
        if (deks.confirmed.length === 1) move('three');
      };
      await source.confirm();
      assert.deepEqual(deks.confirmed, ['two', 'three']);
      await source.close();
    })(),
  );
});

test('G1, G8: a data key that arrives after the lease has ended is dropped', async () => {
  const { clock, source, copy, lapse, renew, deks } = await world();
  await clock.drive(
    (async () => {
      const ended = await reasonOf(
        copy(async () => {
          await lapse();
          renew();
          deks.whileUnwrapped = lapse;
        }),
      );
      assert.equal(ended, 'KEY_VAULT_UNREACHABLE');
      const left = await reasonOf(source.disk.read(0, 1, () => undefined).next());
      assert.equal(left, 'DEK_DROPPED');
    })(),
  );
});

test('G1, CMK-110: an access loss ends a paused copy', async () => {
  const { clock, copy, lapse, keyAccess } = await world();
  await clock.drive(
    (async () => {
      const ended = reasonOf(
        copy(async () => {
          await lapse();
          void clock.sleep(500).then(() => {
            keyAccess.lost(key, { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 6 }, 'fact');
          });
        }),
      );
      assert.equal(await ended, 'KEY_DISABLED');
    })(),
  );
});
