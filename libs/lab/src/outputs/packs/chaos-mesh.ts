import type { CloudPart } from '../../experiment.ts';
import { yamlText } from '../yaml-text.ts';
import { commandContainer, commandVolumes, type PackImage } from './container.ts';
import { type Command, freeNameIn, headOf, type Pack, type PackStep, weakerFaults, withObjectNames } from './pack.ts';

interface Template {
  readonly name: string;
  readonly templateType: string;
  readonly [field: string]: unknown;
}

/** Longest task, in seconds, and how long machines may take to start at the end. */
const taskSeconds = 180;
const settleSeconds = 15;

const secondsOf = (ms: number): string => `${Math.max(1, Math.ceil(ms / 1_000))}s`;

const selectorOf = (part: CloudPart) => ({
  namespaces: ['interlock'],
  labelSelectors: { 'app.kubernetes.io/name': part },
});

/** The fault of Chaos Mesh for a step; undefined if it has none. A paused part is cut off from all messages. */
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

/** Collects the templates of a Workflow. Each call returns the name of its template. */
class Templates {
  readonly all: Template[] = [];
  /** Steps for which Chaos Mesh has no fault. */
  readonly left: string[] = [];
  readonly #image: PackImage;
  readonly #names = new Set<string>();

  constructor(image: PackImage) {
    this.#image = image;
  }

  /** A step may have the name of another template, such as `timeline`. */
  add(template: Template): string {
    const name = freeNameIn(this.#names, template.name);
    this.all.push({ ...template, name });
    return name;
  }

  task(name: string, command: Command): string {
    const task = { container: commandContainer(name, command, this.#image), volumes: commandVolumes() };
    return this.add({ name, templateType: 'Task', deadline: `${taskSeconds}s`, task });
  }

  serial(name: string, children: readonly string[], ms: number): string {
    return this.add({ name, templateType: 'Serial', deadline: secondsOf(ms), children: [...children] });
  }

  /** Adds templates that start at a time after the start. */
  at(name: string, atMs: number, children: readonly string[], limitMs: number): string {
    const wait =
      atMs < 1_000 ? [] : [this.add({ name: `wait-${name}`, templateType: 'Suspend', deadline: secondsOf(atMs) })];
    return this.serial(`at-${name}`, [...wait, ...children], limitMs);
  }

  step(step: PackStep, limitMs: number): readonly string[] {
    const { name, atMs } = step;
    if (step.kind === 'commands') {
      const tasks = step.commands.map((command, n) => this.task(n === 0 ? name : `${name}-${n + 1}`, command));
      return [this.at(name, atMs, tasks, limitMs)];
    }
    const fault = faultOf(step);
    if (fault === undefined) {
      this.left.push(`step: ${name}`);
      return [];
    }
    const deadline = secondsOf(Math.max(1_000, step.forMs));
    return [this.at(name, atMs, [this.add({ name, templateType: '', ...fault, deadline })], limitMs)];
  }
}

/** A Workflow of Chaos Mesh: steps wait in parallel for their times; access is always given back. */
export const chaosMeshPack = (whole: Pack, name: string, image: PackImage): string => {
  const pack = { ...whole, steps: withObjectNames(whole.steps) };
  const templates = new Templates(image);
  const limitMs = pack.endMs + taskSeconds * 1_000 * (1 + pack.rollbacks.length);
  const checks = pack.checks.map(({ atMs, command }, n) =>
    templates.at(`check-${n + 1}`, atMs, [templates.task(`check-${n + 1}`, command)], limitMs),
  );
  const branches = [...pack.steps.flatMap((step) => templates.step(step, limitMs)), ...checks];
  const deadline = secondsOf(limitMs);
  const timeline = templates.add({ name: 'timeline', templateType: 'Parallel', deadline, children: branches });
  const after = [
    ...pack.rollbacks.map((command, n) => templates.task(`rollback-${n + 1}`, command)),
    templates.add({ name: 'settle', templateType: 'Suspend', deadline: `${settleSeconds}s` }),
    ...pack.steady.map((command, n) => templates.task(`steady-after-${n + 1}`, command)),
  ];
  const target = templates.serial('experiment', [timeline, ...after], 2 * limitMs);
  const [first = ['probe', 'services', '--gap', '100']] = pack.steady;
  const entry = templates.task('steady-before', first);
  const conditionalBranches = [{ target, expression: 'exitCode == 0' }];
  const labels = { 'app.kubernetes.io/part-of': 'interlock' };
  const workflow = {
    apiVersion: 'chaos-mesh.org/v1alpha1',
    kind: 'Workflow',
    metadata: { generateName: `${name}-`, namespace: 'interlock', labels },
    spec: {
      entry,
      templates: templates.all.map((one) => (one.name === entry ? { ...one, conditionalBranches } : one)),
    },
  };
  const head = headOf(
    { ...pack, notes: [...pack.notes, ...templates.left], weaker: [...pack.weaker, ...weakerFaults(pack)] },
    [
      'Then: kubectl apply -k deploy/kubernetes/overlays/chaos, and kubectl create -f <this file>.',
      'kubectl annotate workflow <name> workflow.chaos-mesh.org/abort=true ends it.',
    ],
  );
  return head + yamlText(workflow);
};
