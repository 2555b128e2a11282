import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { openIdentities } from '@interlock/local/bootstrap-identities.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import type { Workload } from '@interlock/rpc';
import { systemRandom } from '@interlock/runtime';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { type Callers, makeCallers } from './callers.ts';
import { type Calls, openCalls, type Shown } from './calls.ts';
import { type Cell, cellsOf } from './cells.ts';
import { type Expire, openExpiry } from './expired-token.ts';
import { type Names, namesFor } from './names.ts';
import { makePlace, type Place } from './place.ts';
import type { Row } from './row.ts';
import { ruleInWords } from './rule.ts';
import { table } from './table.ts';
import { wrongWith } from './verdict.ts';
import { services } from './who.ts';

/** RPCs under test at the same time: enough to keep two cores busy, few next to the rest of a test run. */
const width = 6;

let cloud: TestCloud;
let names: Names;
let place: Place;
let callers: Callers;
let calls: Calls;
let expire: Expire;

before(async () => {
  // No guest processes: this test needs only the names of machines.
  cloud = await testCloud({ GUEST_DRIVER: 'idle' });
  const { administrator } = cloud.cloud;
  names = namesFor(randomUUID().slice(0, 8), administrator);
  const identities = openIdentities(openDataFolder(cloud.folder), systemRandom);
  const cells = table.flatMap(({ cases }) => cases.flatMap(({ rule }) => cellsOf(rule, names)));
  callers = await makeCallers(
    cloud.outside,
    identities,
    names,
    cells.map(({ who }) => who),
  );
  const given = {
    administrator: { id: administrator.principalId, secret: administrator.secret },
    servicePrincipal: `principals/${identities.workloads.disk.principalId}`,
  };
  place = await makePlace(cloud.clients, given, names, callers.policies);
  expire = await openExpiry(cloud.cloud.databaseUrls.identity, identities.workloads.identity.masterKeyFile);
  calls = openCalls(cloud.cloud);
});
after(async () => {
  calls?.close();
  await cloud?.stop();
});

const elsewhere = (service: Workload): Workload => (service === 'identity' ? 'compute' : 'identity');

/** The credentials that the caller of a cell presents. */
const shownBy = async ({ who, token }: Cell, service: Workload): Promise<Shown> => {
  switch (who.kind) {
    case 'anonymous':
      return {};
    case 'disk access':
      return { diskAccess: place.diskAccess[who.access] };
    case 'principal':
    case 'service': {
      const bearer = await callers.token(who, token === 'wrong audience' ? elsewhere(service) : service);
      return { bearer: token === 'expired' ? expire(bearer) : bearer };
    }
  }
};

/** Cells of an RPC whose outcome differs from the table. */
const wrongCells = async (row: Row): Promise<readonly string[]> => {
  const wrong: string[] = [];
  for (const { when, rule, request } of row.cases) {
    for (const cell of cellsOf(rule, names)) {
      const outcome = await calls.call(row, request(place), await shownBy(cell, row.service));
      const problem = wrongWith(cell, outcome);
      const who = `${cell.caller}, ${JSON.stringify(cell.who)}`;
      if (problem) wrong.push(`${when ?? 'always'}, ${ruleInWords(rule)}: ${who}: ${problem}`);
    }
  }
  return wrong;
};

for (const service of services) {
  test(`KV-70, KV-73, KV-74, KV-80, KV-81, KV-82, KV-83, CMK-25, CMK-26, CMK-27: ${service} serves or refuses every caller of every RPC as the table says`, {
    concurrency: width,
  }, async (t) => {
    const rows = table.filter((row) => row.service === service);
    await Promise.all(
      rows.map((row) =>
        t.test(row.rpc, async () => {
          assert.deepEqual(await wrongCells(row), []);
        }),
      ),
    );
  });
}

/** Refusals that come before the check of the principal, or because a resource is missing. */
const refusedForOtherReasons: ReadonlySet<string> = new Set(['WORKLOAD_REQUIRED', 'VAULT_NOT_FOUND']);

test('KV-81: every RPC that checks tokens refuses the tokens of a deleted platform owner', async () => {
  const principalId = randomUUID();
  const { identity } = cloud.clients;
  const requested = { principalId, tenant: names.tenant, type: 'APPLICATION', displayName: 'deleted' } as const;
  const { name: principal } = await identity.createPrincipal(requested);
  const { secretText: clientSecret } = await identity.addSecret({ principal, secretId: 'only' });
  const role = { principal, role: 'roles/owner', scope: '/' };
  await identity.createRoleAssignment({ roleAssignmentId: randomUUID(), ...role });
  const bearers = new Map<Workload, string>();
  for (const service of services) {
    const asked = { clientId: principalId, clientSecret, audience: `interlock:${service}` };
    bearers.set(service, (await identity.issueToken(asked)).accessToken);
  }
  await identity.deletePrincipal({ name: principal });
  const wrong: string[] = [];
  for (const row of table.filter(({ rpc }) => !rpc.includes('DiskDataService'))) {
    for (const { rule, request } of row.cases) {
      if (rule.kind === 'public') continue;
      const { code, reason } = await calls.call(row, request(place), { bearer: bearers.get(row.service) ?? '' });
      const isRefused = code === 'UNAUTHENTICATED' && reason === 'PRINCIPAL_DELETED';
      if (!isRefused && !refusedForOtherReasons.has(reason)) wrong.push(`${row.rpc}: ${code} ${reason}`);
    }
  }
  assert.deepEqual(wrong, []);
});
