import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListLeasesRequest } from '@interlock/contracts/interlock/disk/v1/lease.ts';
import { usableMs, virtualClock } from '@interlock/runtime';
import { createKeyAccess } from './key-access.ts';
import type { KeyGrant } from './lease.ts';
import { leaseApi } from './lease-api.ts';
import type { LeaseUser } from './lease-user.ts';
import type { LeaseReport } from './leases.ts';

const ttlMs = 12_000;
const setOf = (name: string): string => `subscriptions/s/resourceGroups/g/diskEncryptionSets/${name}`;

const openApi = () => {
  const clock = virtualClock();
  const keyAccess = createKeyAccess(clock, { ttlMs });
  const listed: LeaseReport[] = [];
  const api = leaseApi({
    leases: { list: () => listed },
    keyAccess,
    reports: { stateOf: () => 'pending' },
    terms: { ttlMs },
    diskHost: 'host',
    clock,
  });
  const grant = (): KeyGrant => ({ accessEpoch: 4, sent: keyAccess.nextCall(), principal: 'principals/p' });
  const user = (isPinnable: boolean, hasDek: boolean): LeaseUser => ({
    name: 'disk',
    isPinnable,
    accessEpoch: 4,
    grant: () => (hasDek ? grant() : undefined),
    drop: () => undefined,
    probe: async () => undefined,
  });
  return {
    clock,
    keyAccess,
    grant,
    /** Adds a lease of that set and version to the list. */
    add: (set: string, keyVersion: string, report: Partial<LeaseReport> = {}) => {
      const key = { set: setOf(set), keyVersion };
      const users = new Set([user(true, true), user(true, false), user(false, true)]);
      const found = { users, wonAt: 1_000, endedAt: 2_000, unanswered: undefined, isCountedAsLost: false, ...report };
      listed.push({ lease: keyAccess.lease(key), ...found });
      return key;
    },
    list: async (request: Partial<ListLeasesRequest> = {}) => {
      const { leases, nextPageToken } = await api.listLeases(ListLeasesRequest.fromPartial(request));
      return {
        leases,
        nextPageToken,
        names: leases.map((one) => `${one.diskEncryptionSet.slice(-1)} ${one.keyVersion}`),
      };
    },
  };
};

test('leases of one set or of all sets are listed page by page, each once', async () => {
  const { add, list } = openApi();
  for (const [set, version] of [
    ['a', 'one'],
    ['a', 'two'],
    ['b', 'one'],
  ] as const)
    add(set, version);
  assert.deepEqual((await list()).names, ['a one', 'a two', 'b one']);
  assert.deepEqual((await list({ diskEncryptionSet: setOf('a') })).names, ['a one', 'a two']);
  const first = await list({ pageSize: 2 });
  assert.deepEqual(first.names, ['a one', 'a two']);
  const second = await list({ pageSize: 2, pageToken: first.nextPageToken });
  assert.deepEqual([second.names, second.nextPageToken], [['b one'], '']);
  assert.equal((await list({ pageSize: 3 })).nextPageToken, '', 'a full page may be the last');
  await assert.rejects(list({ diskEncryptionSet: 'none' }), { reason: 'NAME_INVALID' });
});

test('a held lease shows its age and expiry; another lease shows its reason, its start and its pinned disks', async () => {
  const { clock, keyAccess, grant, add, list } = openApi();
  const key = add('a', 'one');
  keyAccess.granted(key, grant(), 'unwrapped');
  await clock.drive(clock.sleep(2_000));
  const [held] = (await list()).leases;
  assert.deepEqual(
    [held?.state, held?.winTime?.getTime(), held?.since, held?.ageMs, held?.expiresInMs, held?.accessEpoch],
    ['HELD', 1_000, undefined, 2_000, Math.round(usableMs(ttlMs)) - 2_000, 4],
  );
  assert.deepEqual([held?.openCount, held?.pinnedCount], [3, 0]);
  await clock.drive(clock.sleep(2 * ttlMs));
  const [over] = (await list()).leases;
  assert.deepEqual(
    [over?.state, over?.winTime, over?.since?.getTime(), over?.expiresInMs, over?.reason, over?.pinnedCount],
    ['PINNED', undefined, 2_000, 0, 'KEY_VAULT_UNREACHABLE', 1],
  );
  keyAccess.lost(key, { reason: 'KEY_DISABLED', since: 1_500, traceId: '', accessEpoch: 5 }, 'fact');
  const [lost] = (await list()).leases;
  assert.deepEqual([lost?.reason, lost?.since?.getTime(), lost?.report], ['KEY_DISABLED', 1_500, 'PENDING']);
});
