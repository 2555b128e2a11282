import type { Experiment, Step } from '../../experiment.ts';
import { Evidence } from '../../measures/evidence.ts';
import { type MachineLoss, machineLossesOf, operationText } from '../../measures/machine-loss.ts';
import type { IoRecord, RunRecord } from '../../record.ts';
import { shortName } from '../../short-name.ts';
import { isFaultAction } from '../../timeline/actions.ts';
import { duration, type Html, html } from '../html.ts';
import { partsOf } from './injections.ts';

/** Why the slowest machine stopped when it did, and why operations failed of groups that no step concerns. */
export function whyItHappened(experiment: Experiment, record: RunRecord): Html {
  if (record.run.startedMs === undefined) return html``;
  const evidence = new Evidence(experiment, record);
  const slowest = slowestStop(evidence);
  const sentences = [
    ...(slowest === undefined ? [] : [stopInWords(slowest, evidence)]),
    ...evidence.groups.flatMap((group) => failuresInWords(group, evidence)),
  ];
  if (sentences.length === 0) return html``;
  return html`<ul class="why">${sentences.map((sentence) => html`<li>${sentence}</li>`)}</ul>`;
}

type Stopped = MachineLoss & Required<Pick<MachineLoss, 'keyStop'>>;

/** The machine that the platform stopped latest after its loss. */
function slowestStop(evidence: Evidence): Stopped | undefined {
  const stopped = evidence.groups
    .flatMap((group) => machineLossesOf(evidence, group))
    .flatMap((machineLoss) =>
      machineLoss.keyStop === undefined ? [] : [{ ...machineLoss, keyStop: machineLoss.keyStop }],
    );
  const after = ({ keyStop, episode }: Stopped): number => keyStop.atMs - episode.startMs;
  return stopped.toSorted((a, b) => after(b) - after(a))[0];
}

function stopInWords({ machine, keyStop, episode }: Stopped, evidence: Evidence): string {
  const faults = evidence.experiment.timeline.filter((step) => {
    const fromMs = isFaultAction(step.action) ? evidence.effectMs(step) : undefined;
    const untilMs = evidence.undoneMs(step) ?? Number.POSITIVE_INFINITY;
    return fromMs !== undefined && fromMs <= keyStop.atMs && untilMs >= episode.startMs;
  });
  const last = `${shortName(machine.name)} stopped last, ${duration(keyStop.atMs - episode.startMs)} after the loss, for ${keyStop.reason}.`;
  const hosts = machine.disks.flatMap(({ diskHost }) => diskHost ?? []);
  return `${last} ${deciding(faults, keyStop.atMs, hosts, evidence)}`;
}

/** How each part that is out delays a stop, the strongest first. @param hosts disk hosts that have disks of the machine */
const delaysOf = (hosts: readonly string[]): readonly (readonly [string, string])[] => [
  ['compute', 'machines are stopped by it'],
  ['key-vault', 'only it can refuse the key'],
  ['identity', 'the vault needs it to know a removed role or identity'],
  ['postgres', 'no service can store a decision without it'],
  ...hosts.map((host) => [host, 'it has disks of the machine, and checks the lease of their key'] as const),
  ['disk', 'it checks the lease of the key'],
  ['nats', 'no event arrived, and the timed check of the lease decided'],
  ['disk-encryption-set', 'no loss was published, and the report of the disk host or the timed check decided'],
];

function deciding(faults: readonly Step[], stoppedMs: number, hosts: readonly string[], evidence: Evidence): string {
  for (const [part, how] of delaysOf(hosts)) {
    const fault = faults.find((step) => partsOf(evidence.stepRecord(step) ?? step).includes(part));
    if (fault === undefined) continue;
    const endMs = evidence.undoneMs(fault);
    const until =
      endMs === undefined || endMs > stoppedMs
        ? 'was still disturbed'
        : `was disturbed until ${duration(stoppedMs - endMs)} before`;
    return `${part} ${until} (“${fault.name}”): ${how}.`;
  }
  return 'No part was disturbed: the published loss decided.';
}

/** Failed operations of a group that no step concerns, by reason. */
function failuresInWords(group: string, evidence: Evidence): readonly string[] {
  if (evidence.roleOf(group) !== 'control') return [];
  const failed = evidence.failuresDuringTimeline(group);
  return [...Map.groupBy(failed, ({ reason }) => reason)].map(([reason, some]) => {
    const [first] = some;
    const count = some.length === 1 ? 'one operation' : `${some.length} operations`;
    return `${group}: ${count} failed with ${reason || 'no reason'}${first === undefined ? '' : `; the first was ${whenOf(first, evidence)}`}.`;
  });
}

const whenOf = (one: IoRecord, { startMs }: Evidence): string =>
  `${operationText({ ...one, reason: '' })}, ${duration(one.completedMs - startMs)} after the start`;
