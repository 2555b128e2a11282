import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { AuditDraft } from '../audit/draft.ts';
import type { AuditedItem } from '../audit/log.ts';
import { keyUrls } from '../names.ts';
import { openJudging } from './judging.ts';
import { type KeyUse, useKeyTogether } from './use.ts';

interface Wish {
  readonly key: string;
  readonly disk: string;
}

const urls = keyUrls('vault.test');
const refused = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'it is disabled');
const evicted = new Rejection('ABORTED', 'KEY_EVICTED', 'decide about it again');

/** Requests of one principal, processed together by a scripted use. */
const together = async (
  requests: readonly Wish[],
  act: { judge: (key: string, look: number) => string; perform: (disk: string, judgement: string) => string },
) => {
  const judged: string[] = [];
  const use: KeyUse<Wish, string, string> = {
    resource: ({ disk }) => disk,
    question: ({ key }) => key,
    async judge({ key }, _call, subjects) {
      judged.push(key);
      subjects.inVault('vault1');
      subjects.about(`vaults/vault1/keys/${key}`);
      return act.judge(key, judged.filter((one) => one === key).length);
    },
    attributes: () => ({}),
    perform: async (judgement, { disk }) => act.perform(disk, judgement),
  };
  const items = requests.map(
    (request): AuditedItem<Wish> => ({
      request,
      call: {
        caller: { kind: 'managed_identity', id: 'a', name: 'principals/a', tenant: 't' },
        cause: { correlationId: 'c', causes: [], caller: 'a' },
        peer: '127.0.0.1:1',
      },
      entry: new AuditDraft(urls),
    }),
  );
  const settled = await useKeyTogether({ judging: openJudging(urls) }, use, items);
  return {
    judged,
    outcomes: settled.map((one) => ('answer' in one ? one.answer : one.error)),
    recorded: items.map(({ entry }) => [entry.fields(0).resource, ...entry.subjects.map(({ key }) => key)]),
  };
};

const requests = [
  { key: 'k1', disk: 'd1' },
  { key: 'k2', disk: 'd2' },
  { key: 'k1', disk: 'd3' },
];

test('KV-114: uses that run together are judged once per question, and each is answered and recorded on its own', async () => {
  const { judged, outcomes, recorded } = await together(requests, {
    judge: (key) => {
      if (key === 'k2') throw refused;
      return `may use ${key}`;
    },
    perform: (disk, judgement) => `${judgement} for ${disk}`,
  });
  assert.deepEqual(judged, ['k1', 'k2']);
  assert.deepEqual(outcomes, ['may use k1 for d1', refused, 'may use k1 for d3']);
  assert.deepEqual(recorded, [
    ['d1', 'vaults/vault1/keys/k1'],
    ['d2', 'vaults/vault1/keys/k2'],
    ['d3', 'vaults/vault1/keys/k1'],
  ]);
});

test('KV-12: a use whose key was evicted before its turn is judged again, a limited number of times', async () => {
  const { judged, outcomes } = await together(requests, {
    judge: (_key, look) => {
      if (look === 2) throw refused;
      return 'yes';
    },
    perform: (disk) => {
      if (disk === 'd3') throw evicted;
      return disk;
    },
  });
  assert.deepEqual(judged, ['k1', 'k2', 'k1']);
  assert.deepEqual(outcomes, ['d1', 'd2', refused]);

  const inVain = await together(requests.slice(0, 1), {
    judge: () => 'yes',
    perform: () => {
      throw evicted;
    },
  });
  assert.deepEqual([inVain.judged.length, inVain.outcomes], [3, [evicted]]);
});
