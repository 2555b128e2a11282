import type { RunRecord } from '../../record.ts';
import type { GroupFigures, Outcome, Quantiles, Verdict } from '../../verdict.ts';
import { duration, type Html, html } from '../html.ts';

/** Each outcome on its label, and as a colour. */
export const outcomeLabels: Readonly<Record<Outcome, { readonly words: string; readonly colour: string }>> = {
  held: { words: 'Held', colour: 'pass' },
  violated: { words: 'Violated', colour: 'fail' },
  aborted: { words: 'Aborted', colour: 'open' },
  inconclusive: { words: 'Inconclusive', colour: 'open' },
  vacuous: { words: 'Vacuous', colour: 'open' },
};

/** The verdict in one sentence, with the longest time, not the typical one. */
export function headline({ outcome, rules, groups, bytesCompared, bytesLost }: Verdict): string {
  const broken = rules.filter(({ result }) => result === 'violated').length;
  const off = slowest(groups);
  switch (outcome) {
    case 'held':
      return `It held: ${[off ?? `${rules.length} of ${rules.length} rules hold`, kept(bytesCompared, bytesLost)].join('')}.`;
    case 'violated': {
      const rest = bytesLost > 0 ? `, and ${bytesLost.toLocaleString('en')} bytes were lost` : '';
      return `It did not hold: ${broken} of ${rules.length} rules failed${off === undefined ? '' : `; ${off}`}${rest}.`;
    }
    case 'aborted':
      return 'The run was stopped early, so it proves nothing about what was expected.';
    case 'inconclusive':
      return 'The run itself failed, so it proves nothing.';
    case 'vacuous':
      return 'Something was never put to the test, so the run proves nothing.';
  }
}

/** `the last machine was off 4.92 s after its key was lost`; undefined if none stopped. */
function slowest(groups: readonly GroupFigures[]): string | undefined {
  const ms = longest(groups, ({ stopped }) => stopped);
  return ms === null ? undefined : `the last machine was off ${duration(ms)} after access was lost`;
}

const kept = (compared: number, lost: number): string =>
  compared > 0 && lost === 0 ? ', and every byte came back' : '';

/** The longest value of a figure over the treatment groups; null if none was measured. */
export const longest = (groups: readonly GroupFigures[], figure: (group: GroupFigures) => Quantiles): number | null =>
  groups
    .filter(({ role }) => role === 'treatment')
    .map((group) => figure(group).max)
    .reduce<number | null>((most, ms) => (ms === null ? most : Math.max(most ?? ms, ms)), null);

/** Why a run that was aborted, inconclusive or vacuous proves nothing, and what to do next; empty for the other outcomes. */
export function whyNothing({ outcome, rules, problems }: Verdict, { run }: RunRecord): Html {
  switch (outcome) {
    case 'aborted':
      return box('Why this run proves nothing', [
        html`<p>The abort condition <code>${run.abortedBy ?? ''}</code> was met${run.endedMs === undefined || run.startedMs === undefined ? '' : ` ${duration(run.endedMs - run.startedMs)} after the start`}. Everything was given back and nothing more was injected. What is shown below is what happened until then.</p>`,
        html`<p><b>What to do:</b> find out why the condition was met. If the fault itself caused it, the experiment reaches further than intended.</p>`,
      ]);
    case 'inconclusive':
      return box('Why this run proves nothing', [
        html`<ul>${problems.map((problem) => html`<li>${problem}</li>`)}${problems.length === 0 ? html`<li>No reason was recorded.</li>` : ''}</ul>`,
        html`<p><b>What to do:</b> remove the cause and run it again. This says nothing about the system under test, good or bad.</p>`,
      ]);
    case 'vacuous':
      return box('Why this run proves nothing', [
        html`<p>These rules were never put to the test, so nothing could have broken them:</p>`,
        html`<ul>${rules.filter(({ result }) => result === 'vacuous').map(({ text, seen }) => html`<li><code>${text}</code>: ${seen}</li>`)}</ul>`,
        html`<p><b>What to do:</b> change the experiment so that each of them is put to the test, for example with a longer lead, machines that read and write, or a fault that takes effect.</p>`,
      ]);
    default:
      return html``;
  }
}

const box = (title: string, parts: readonly Html[]): Html =>
  html`<section class="nothing"><h2>${title}</h2>${parts}</section>`;
