import type { CloudPart } from '../../experiment.ts';
import { yamlText } from '../yaml-text.ts';
import { type Command, headOf, type Pack, type PackStep } from './pack.ts';

const kindOf: Readonly<Record<CloudPart, string>> = {
  identity: 'deployment',
  'key-vault': 'deployment',
  'disk-encryption-set': 'deployment',
  disk: 'statefulset',
  compute: 'statefulset',
  nats: 'statefulset',
  postgres: 'statefulset',
};

const process = (path: string, args: Command, timeout = 60) => ({
  type: 'process',
  path,
  arguments: [...args],
  timeout,
});

const probe = (name: string, command: Command) => ({
  type: 'probe',
  name,
  tolerance: 0,
  provider: process('interlock', command),
});

/** Activities at a moment. */
interface Moment {
  readonly atMs: number;
  readonly name: string;
  readonly activity: object;
}

/** The activities of a fault; none if kubectl cannot do it. */
const faultMoments = (step: PackStep & { readonly kind: 'fault' }): readonly Moment[] => {
  const { name, atMs, forMs, action, parts } = step;
  const [part] = parts;
  const kubectl = (suffix: string, ms: number, args: Command): Moment => ({
    atMs: ms,
    name: `${name}${suffix}`,
    activity: {
      type: 'action',
      name: `${name}${suffix}`,
      provider: process('kubectl', ['--namespace', 'interlock', ...args]),
    },
  });
  if (part === undefined || (action !== 'kill' && action !== 'restart')) return [];
  if (action === 'restart' || forMs === 0)
    return [kubectl('', atMs, ['delete', 'pod', '--selector', `app.kubernetes.io/name=${part}`, '--wait=false'])];
  const scale = (count: number): Command => ['scale', kindOf[part], part, `--replicas=${count}`];
  return [kubectl('', atMs, scale(0)), kubectl('-ends', atMs + forMs, scale(1))];
};

/** An experiment of Chaos Toolkit with process activities only, so that it needs no extension. */
export const chaosToolkitPack = (pack: Pack): string => {
  const left = pack.steps
    .filter((step) => step.kind === 'fault' && faultMoments(step).length === 0)
    .map(({ name }) => name);
  const moments = [
    ...pack.steps.flatMap((step) =>
      step.kind === 'fault'
        ? faultMoments(step)
        : step.commands.map((command, n): Moment => {
            const name = n === 0 ? step.name : `${step.name}-${n + 1}`;
            return {
              atMs: step.atMs,
              name,
              activity: { type: 'action', name, provider: process('interlock', command) },
            };
          }),
    ),
    ...pack.checks.map(({ atMs, command }): Moment => {
      const name = command.join('-');
      return { atMs, name, activity: probe(name, command) };
    }),
  ].toSorted((a, b) => a.atMs - b.atMs);
  const method = moments.map(({ atMs, activity }, n) => {
    const waitMs = atMs - (moments[n - 1]?.atMs ?? 0);
    return waitMs > 0 ? { ...activity, pauses: { before: waitMs / 1_000 } } : activity;
  });
  const steady = [
    ...(pack.control.length === 0 ? pack.steady : []),
    ...(pack.control.length === 0 ? [] : [['probe', 'running', ...pack.control]]),
  ];
  const head = headOf({ ...pack, notes: [...pack.notes, ...left.map((name) => `step: ${name}`)] }, [
    'Then: chaos run --rollback-strategy=always <this file>. It uses interlock and kubectl alone.',
  ]);
  const experiment = {
    version: '1.0.0',
    title: pack.title,
    description: pack.description || pack.title,
    tags: ['interlock', 'revocation'],
    runtime: {
      rollbacks: { strategy: 'always' },
      hypothesis: { strategy: 'continuously', frequency: 5, fail_fast: true },
    },
    'steady-state-hypothesis': {
      title: pack.control.length === 0 ? 'Every service is ready' : 'The control machines run',
      probes: steady.map((command) => probe(command.join('-'), command)),
    },
    method: [...pack.steady.map((command) => probe(`before-${command.join('-')}`, command)), ...method],
    rollbacks: pack.rollbacks.map((command) => ({
      type: 'action',
      name: command.join('-'),
      provider: process('interlock', command, 180),
    })),
  };
  return head + yamlText(experiment);
};
