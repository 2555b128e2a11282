import assert from 'node:assert/strict';
import { test } from 'node:test';
import { preferred } from '../fleet/choice.ts';
import { hashOf } from '../fleet/known-host.ts';
import { call, type FakeHost, fakeFleet, refusal } from './test-fleet.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/e';
const request = { diskEncryptionSet: set, keyVersion: 'v', principal: 'p', allowExpired: false };

/** How a host responds to a check of a key: after so many milliseconds, with a grant or a refusal. */
interface Behaviour {
  readonly afterMs: number;
  readonly refuses?: string;
}
const never: Behaviour = { afterMs: Number.POSITIVE_INFINITY };
const granted: Behaviour = { afterMs: 0 };
const refusing = (refuses: string): Behaviour => ({ afterMs: 0, refuses });

/** Checks a key with hosts in the order that its set prefers them. @returns the answer, its time in ms, and the calls that were ended */
const checkWith = async (...behaviours: readonly Behaviour[]) => {
  const names = behaviours.map((_, host) => `disk-${host}`);
  const known = { status: 'open', isServing: true, lease: undefined, volumeCount: 0 } as const;
  const order = preferred(
    names.map((name) => ({ ...known, name, nameHash: hashOf(name) })),
    set,
    () => true,
  );
  const ended: number[] = [];
  const hostAt = (place: number, { afterMs, refuses }: Behaviour): FakeHost => ({
    methods: {
      checkKeyAccess: (_request, options) =>
        new Promise((resolve, reject) => {
          let isAnswered = false;
          const answer = (): void => {
            isAnswered = true;
            if (refuses !== undefined) reject(refusal(refuses));
            else resolve({ accessEpoch: place } as never);
          };
          options?.signal?.addEventListener('abort', () => {
            if (!isAnswered) ended.push(place);
          });
          if (afterMs === 0) answer();
          else if (Number.isFinite(afterMs)) void fleet.clock.sleep(afterMs).then(answer);
        }),
    },
  });
  const fleet = fakeFleet(
    Object.fromEntries(order.map((name, at) => [name, hostAt(at + 1, behaviours[at] ?? assert.fail())])),
  );
  const startedMs = fleet.clock.monotonicMs();
  const answer = await fleet.api.checkKeyAccess(request, call).then(
    ({ accessEpoch }) => `host ${accessEpoch}`,
    ({ reason }) => reason,
  );
  return [answer, fleet.clock.monotonicMs() - startedMs, ended];
};

test('G3: a host that does not respond delays the check of a key by half a second', async () => {
  assert.deepEqual(await checkWith(granted, granted), ['host 1', 0, []]);
  assert.deepEqual(await checkWith(never, granted), ['host 2', 500, [1]]);
  assert.deepEqual(await checkWith(never, refusing('KEY_DISABLED')), ['KEY_DISABLED', 500, [1]]);
  assert.deepEqual(await checkWith(never, never, granted), ['host 3', 1_000, [1, 2]]);
});

test('a host that takes no call is followed by the next at once, and its refusal is the answer if no host takes it', async () => {
  const busy = refusing('DISK_HOST_BUSY');
  assert.deepEqual(await checkWith(busy, busy, granted), ['host 3', 0, []]);
  assert.deepEqual(await checkWith(busy, busy), ['DISK_HOST_BUSY', 0, []]);
  assert.deepEqual(await checkWith(), ['DISK_HOST_UNREACHABLE', 0, []]);
});

test('while a vault is slow for every host, the first answer counts and the other calls end', async () => {
  const slow = { afterMs: 5_000 };
  assert.deepEqual(await checkWith({ afterMs: 1_200 }, slow, slow), ['host 1', 1_200, [2, 3]]);
  assert.deepEqual(await checkWith(slow, { afterMs: 700 }, slow), ['host 2', 1_200, [1, 3]]);
});
