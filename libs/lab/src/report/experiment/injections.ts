import type { Experiment } from '../../experiment.ts';
import { hostNamed, isFaultTarget } from '../../experiment.ts';
import type { RunRecord, StepRecord } from '../../record.ts';
import { actionInWords } from '../../timeline/actions.ts';
import { duration, type Html, html } from '../html.ts';
import { effectOf } from './losses.ts';

/** Later than planned by more than this, in milliseconds, is shown. */
const lateMs = 50;

/** The injections: when each was planned, called, effective and undone. */
export function injections(experiment: Experiment, { steps, run }: RunRecord): Html {
  const { startedMs } = run;
  if (steps.length === 0 || startedMs === undefined) return html`<p>Nothing was injected.</p>`;
  const at = (ms: number): string => sinceStart(ms - startedMs);
  const injected = steps.filter(({ undoes }) => undoes === undefined);
  return html`<div class="scroll"><table class="figures-table stack"><thead><tr><th>Step</th><th class="num">Planned</th><th class="num">Carried out</th>
    <th class="num">Took effect</th><th class="num">Undone</th></tr></thead><tbody>
    ${injected.map((step) => {
      const undo = steps.find(({ undoes }) => undoes === step.name);
      const late = step.invokedMs - step.plannedMs;
      return html`<tr><td><b>${whatOf(experiment, step)}</b><div class="tag mono">${step.name}${(step.hosts ?? []).map((host) => ` · ${host}`)}</div>${failure(step.error)}${failure(undo?.error)}${refusal(step)}</td>
        <td class="num" data-label="planned">${at(step.plannedMs)}</td>
        <td class="num" data-label="carried out"><span>${at(step.invokedMs)}${late > lateMs ? html`<small>${duration(late)} late</small>` : ''}</span></td>
        <td class="num" data-label="took effect">${step.effectMs === undefined ? (step.error === undefined && step.refused === undefined ? 'not known' : 'never') : at(step.effectMs)}</td>
        <td class="num" data-label="undone">${undo === undefined ? '–' : at(effectOf(undo))}</td></tr>`;
    })}</tbody></table></div>
    <p class="note">Times count from the start of the timeline, ${new Date(startedMs).toISOString().slice(0, 19).replace('T', ' ')} UTC. A key action takes
    effect when the service that owns the key stores it.</p>`;
}

/** `0.23 s`, `−1.40 s`, `3 min 5 s` */
const sinceStart = (ms: number): string =>
  Math.abs(ms) < 119_500 ? `${ms < 0 ? '−' : ''}${(Math.abs(ms) / 1_000).toFixed(2)} s` : duration(ms);

const failure = (error: string | undefined): Html =>
  error === undefined ? html`` : html`<div class="error">failed: ${error}</div>`;

/** What a lost key refused to the user: no failure of the step. */
const refusal = ({ refused = [] }: StepRecord): Html => {
  const [first] = refused;
  if (first === undefined) return html``;
  return html`<div>refused ${refused.length === 1 ? '' : `${refused.length} times `}(${first.reason}): ${first.message}</div>`;
};

/** The targets of a step, each host by its number: `disk-host-1` for `disk-host-of-premium`. */
export const partsOf = ({ targets, hosts: [host] = [] }: Pick<StepRecord, 'targets' | 'hosts'>): readonly string[] =>
  targets.map((target) => {
    const named = hostNamed(target);
    return named !== undefined && 'group' in named ? (host ?? target) : target;
  });

/** `premium: role removed`, `nats killed` */
export function whatOf(
  { timeline }: Experiment,
  { name, action, targets }: Pick<StepRecord, 'name' | 'action' | 'targets'>,
): string {
  const { options = {} } = timeline.find((step) => step.name === name) ?? {};
  const choice = options.permission ?? options.operation;
  const words = `${actionInWords(action)}${choice === undefined ? '' : ` (${choice})`}`;
  if (targets.length === 0) return words;
  return targets.every(isFaultTarget) ? `${targets.join(' and ')} ${words}` : `${targets.join(', ')}: ${words}`;
}
