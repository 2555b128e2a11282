import type { Experiment } from '../../experiment.ts';
import type { RuleVerdict, Verdict } from '../../verdict.ts';
import { type Html, html } from '../html.ts';
import { inWords } from './expectation-words.ts';

const labels: Readonly<Record<RuleVerdict['result'], { readonly words: string; readonly colour: string }>> = {
  held: { words: 'holds', colour: 'pass' },
  violated: { words: 'violated', colour: 'fail' },
  vacuous: { words: 'not tested', colour: 'open' },
};

/** The expectations of the file, with measured values and their first violation. */
export const expectationRows = (experiment: Experiment, verdict: Verdict): Html =>
  table(
    verdict.rules
      .filter(({ kind }) => kind === 'expectation')
      .map((rule) => ({ rule, title: titleOf(experiment, rule) })),
    'The experiment expects nothing.',
  );

/** Whether the faults took effect, the control was undisturbed and the system was steady before. */
export const proofRows = (verdict: Verdict): Html =>
  table(
    verdict.rules
      .filter(({ kind }) => kind === 'proof' || kind === 'control' || kind === 'steady')
      .map((rule) => ({ rule, title: '' })),
    'The experiment asks for no proof.',
  );

/** The guarantees that must always hold. Those that hold are counted, others are listed. */
export function guaranteeRows(verdict: Verdict): Html {
  const guarantees = verdict.rules.filter(({ kind }) => kind === 'guarantee');
  const others = guarantees.filter(({ result }) => result !== 'held');
  const held = Map.groupBy(
    guarantees.filter(({ result }) => result === 'held'),
    ({ text }) => text.split(/[\s:]/)[0] ?? text,
  );
  const counts = [...held]
    .toSorted(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([name, rules]) => html`<span class="mono count">${name} <b>${rules.length}</b></span> `);
  return html`${
    others.length > 0
      ? table(
          others.map((rule) => ({ rule, title: '' })),
          '',
        )
      : ''
  }
    ${counts.length > 0 ? html`<p class="counts">Hold, with the number of machines, disks or sets each was checked on: ${counts}</p>` : ''}
    ${guarantees.length === 0 ? html`<p>No guarantee was checked.</p>` : ''}`;
}

/** The sentence for the text of a rule, if it is a condition of the file. */
function titleOf({ expect }: Experiment, { text }: RuleVerdict): string {
  const condition = expect.find((one) => one.text === text);
  const words = condition === undefined ? undefined : inWords(condition.expression);
  return words === undefined ? '' : `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

function table(rows: readonly { readonly rule: RuleVerdict; readonly title: string }[], none: string): Html {
  if (rows.length === 0) return html`<p>${none}</p>`;
  return html`<table class="rules verdicts"><tbody>${rows.map(({ rule: { text, result, seen, firstBreak }, title }) => {
    const { words, colour } = labels[result];
    return html`<tr><td><span class="tick ${colour}">${words}</span></td>
      <td>${title === '' ? '' : html`<div class="title">${title}</div>`}<code>${text}</code>
      <div class="evidence">Measured: ${seen}</div>
      ${firstBreak === undefined ? '' : html`<div class="evidence error">First broken by: ${firstBreak}</div>`}</td></tr>`;
  })}</tbody></table>`;
}
