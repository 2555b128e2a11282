import { stringify } from 'yaml';
import type { CloudPart } from '../../experiment.ts';
import { commandContainer, commandVolumes, type PackImage } from './container.ts';
import { type Command, headOf, type Pack, type PackStep } from './pack.ts';

interface Template {
  readonly name: string;
  readonly templateType: string;
  readonly [field: string]: unknown;
}

/** Longest task, in seconds, and the time machines get to start in the end. */
const taskSeconds = 180;
const settleSeconds = 15;

const secondsOf = (ms: number): string => `${Math.max(1, Math.ceil(ms / 1_000))}s`;

const selectorOf = (part: CloudPart) => ({
  namespaces: ['interlock'],
  labelSelectors: { 'app.kubernetes.io/name': part },
});

/** The fault as Chaos Mesh has it; undefined if it has none. A paused part is one that no message reaches. */
const faultOf = ({
  action,
  parts,
  byMs,
}: PackStep & { readonly kind: 'fault' }): Omit<Template, 'name'> | undefined => {
  const [part, other] = parts;
  if (part === undefined) return undefined;
  const all = { mode: 'all', selector: selectorOf(part) };
  switch (action) {
    case 'kill':
      return { templateType: 'PodChaos', podChaos: { action: 'pod-failure', ...all } };
    case 'restart':
      return { templateType: 'PodChaos', podChaos: { action: 'pod-kill', ...all } };
    case 'pause':
      return {
        templateType: 'NetworkChaos',
        networkChaos: { action: 'loss', direction: 'both', loss: { loss: '100' }, ...all },
      };
    case 'slow':
      return {
        templateType: 'NetworkChaos',
        networkChaos: { action: 'delay', delay: { latency: `${byMs}ms` }, ...all },
      };
    case 'shift-clock':
      return { templateType: 'TimeChaos', timeChaos: { timeOffset: `${byMs}ms`, ...all } };
    case 'cut':
      return other === undefined
        ? undefined
        : {
            templateType: 'NetworkChaos',
            networkChaos: {
              action: 'partition',
              direction: 'both',
              ...all,
              target: { mode: 'all', selector: selectorOf(other) },
            },
          };
    default:
      return undefined;
  }
};

/** A Workflow of Chaos Mesh: steps wait side by side for their times; access is given back whatever happened. */
export const chaosMeshPack = (whole: Pack, name: string, image: PackImage): string => {
  const pack = { ...whole, steps: whole.steps.map((step) => ({ ...step, name: step.name.toLowerCase() })) };
  const templates: Template[] = [];
  const add = (template: Template): string => {
    templates.push(template);
    return template.name;
  };
  const task = (taskName: string, command: Command): string =>
    add({
      name: taskName,
      templateType: 'Task',
      deadline: `${taskSeconds}s`,
      task: { container: commandContainer(taskName, command, image), volumes: commandVolumes() },
    });
  const serial = (serialName: string, children: readonly string[], ms: number): string =>
    add({ name: serialName, templateType: 'Serial', deadline: secondsOf(ms), children: [...children] });
  const waiting = (stepName: string, atMs: number): readonly string[] =>
    atMs < 1_000 ? [] : [add({ name: `wait-${stepName}`, templateType: 'Suspend', deadline: secondsOf(atMs) })];
  const left: string[] = [];
  const limitMs = pack.endMs + taskSeconds * 1_000 * (1 + pack.rollbacks.length);
  const branches = [
    ...pack.steps.flatMap((step): readonly string[] => {
      const fault = step.kind === 'fault' ? faultOf(step) : undefined;
      if (step.kind === 'fault' && fault === undefined) {
        left.push(`step: ${step.name}`);
        return [];
      }
      const own =
        step.kind === 'fault'
          ? [add({ name: step.name, templateType: '', ...fault, deadline: secondsOf(Math.max(1_000, step.forMs)) })]
          : step.commands.map((command, n) => task(n === 0 ? step.name : `${step.name}-${n + 1}`, command));
      return [serial(`at-${step.name}`, [...waiting(step.name, step.atMs), ...own], limitMs)];
    }),
    ...pack.checks.map(({ atMs, command }, n) =>
      serial(`at-check-${n + 1}`, [...waiting(`check-${n + 1}`, atMs), task(`check-${n + 1}`, command)], limitMs),
    ),
  ];
  add({ name: 'timeline', templateType: 'Parallel', deadline: secondsOf(limitMs), children: branches });
  const after = [
    ...pack.rollbacks.map((command, n) => task(`rollback-${n + 1}`, command)),
    add({ name: 'settle', templateType: 'Suspend', deadline: `${settleSeconds}s` }),
    ...pack.steady.map((command, n) => task(`steady-after-${n + 1}`, command)),
  ];
  serial('experiment', ['timeline', ...after], 2 * limitMs);
  const [first = ['probe', 'services', '--gap', '100']] = pack.steady;
  const entry = task('steady-before', first);
  const workflow = {
    apiVersion: 'chaos-mesh.org/v1alpha1',
    kind: 'Workflow',
    metadata: {
      generateName: `${name}-`,
      namespace: 'interlock',
      labels: { 'app.kubernetes.io/part-of': 'interlock' },
    },
    spec: {
      entry,
      templates: templates.map((template) =>
        template.name === entry
          ? { ...template, conditionalBranches: [{ target: 'experiment', expression: 'exitCode == 0' }] }
          : template,
      ),
    },
  };
  const head = headOf({ ...pack, notes: [...pack.notes, ...left] }, [
    'Then: kubectl apply -k deploy/kubernetes/overlays/chaos, and kubectl create -f <this file>.',
    'kubectl annotate workflow <name> workflow.chaos-mesh.org/abort=true ends it.',
  ]);
  return head + stringify(workflow, { lineWidth: 0, aliasDuplicateObjects: false });
};
