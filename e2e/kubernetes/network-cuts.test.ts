import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kubectl } from '../../deploy/kubernetes/kubectl.ts';
import { cutPolicies, networkCuts, type Policy } from '../../deploy/kubernetes/network-cuts.ts';
import { textOf } from '../docs/sources.ts';
import { objectsIn } from './render.ts';

const base = objectsIn(textOf('deploy/kubernetes/base/network-policies.yaml')) as unknown as readonly Policy[];

interface Peer {
  readonly podSelector?: Selector;
}
interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

const labelsOf = (part: string) => ({ 'app.kubernetes.io/name': part, 'app.kubernetes.io/part-of': 'interlock' });

const fits = (
  { matchLabels = {}, matchExpressions = [] }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({ key, operator, values }) => (operator === 'In') === values.includes(labels[key] ?? ''));

/** Whether the policies allow one part to call another on a port, evaluated as a network plugin does. */
const isAllowed = (policies: readonly Policy[], from: string, to: string, port: number): boolean => {
  const lets = (part: string, side: 'ingress' | 'egress', peersOf: 'from' | 'to', other: string): boolean =>
    policies
      .map(({ spec }) => Object(spec))
      .filter(({ podSelector }) => fits(podSelector, labelsOf(part)))
      .some((spec) =>
        (spec[side] ?? []).some(
          (rule: Record<string, unknown>) =>
            ((rule[peersOf] as readonly Peer[] | undefined) ?? [{}]).some(
              ({ podSelector }) => podSelector !== undefined && fits(podSelector, labelsOf(other)),
            ) && ((rule.ports as readonly { port: number }[] | undefined) ?? []).some((one) => one.port === port),
        ),
      );
  return lets(from, 'egress', 'to', to) && lets(to, 'ingress', 'from', from);
};

const parts = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

test('a cut removes the connections between its two parts, in both directions, and no others', () => {
  const { replaced, created } = cutPolicies(base, ['disk', 'key-vault']);
  const nameOf = ({ metadata }: Policy): string => Object(metadata).name;
  const names = new Set(replaced.map(nameOf));
  const after = [...base.filter((policy) => !names.has(nameOf(policy))), ...replaced, ...created];
  let count = 0;
  for (const from of parts)
    for (const to of parts) {
      if (from === to) continue;
      const isCut = [from, to].toSorted().join() === 'disk,key-vault';
      assert.equal(isAllowed(base, from, to, 7_400), true, `${from} calls ${to} before`);
      assert.equal(isAllowed(after, from, to, 7_400), !isCut, `${from} calls ${to} after`);
      count += 1;
    }
  assert.equal(count, 20);
});

test('a heal restores the policies, also after a cut by another process', async () => {
  let stored: readonly Policy[] = base;
  const nameOf = ({ metadata }: Policy): string => Object(metadata).name;
  const kubectl: Pick<Kubectl, 'run' | 'json'> = {
    json: async () => ({ items: stored }),
    async run([verb], input) {
      const items: readonly Policy[] = input === undefined ? [] : JSON.parse(input).items;
      const names = new Set(items.map(nameOf));
      if (verb === 'create') stored = [...stored, ...items];
      else if (verb === 'replace')
        stored = stored.map((one) =>
          names.has(nameOf(one)) ? (items.find((item) => nameOf(item) === nameOf(one)) ?? one) : one,
        );
      else
        stored = stored.filter(({ metadata }) => Object(metadata).labels?.['interlock.experiment/cut'] === undefined);
      return '';
    },
  };
  await networkCuts(kubectl as Kubectl).cut(['compute', 'nats']);
  assert.equal(isAllowed(stored, 'compute', 'nats', 4_222), false);
  await networkCuts(kubectl as Kubectl).heal();
  const plain = (policies: readonly Policy[]) =>
    policies.map((policy) => ({ name: nameOf(policy), spec: policy.spec }));
  assert.deepEqual(plain(stored), plain(base));
});
