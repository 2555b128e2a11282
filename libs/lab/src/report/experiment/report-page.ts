import type { Experiment } from '../../experiment.ts';
import type { RunRecord } from '../../record.ts';
import { shortName } from '../../short-name.ts';
import type { Span } from '../../spans/span-store.ts';
import { actionInWords } from '../../timeline/actions.ts';
import type { Verdict } from '../../verdict.ts';
import { duration, type Html, html } from '../html.ts';
import { document } from '../page.ts';
import { laneLegend } from '../picture/legend.ts';
import { picture } from '../picture/picture.ts';
import { waterfall } from '../waterfall.ts';
import { inWords } from './expectation-words.ts';
import { bytes, figuresTable } from './figures.ts';
import { headline, longest, outcomeLabels, whyNothing } from './headline.ts';
import { injections, whatOf } from './injections.ts';
import { periodOf, recordPicture, treatmentFirst } from './record-picture.ts';
import { expectationRows, guaranteeRows, proofRows } from './rules.ts';
import { whyItHappened } from './why.ts';

/**
 * `report.html` of an experiment: one file without external resources, for readers who are not engineers.
 * @param spans of the traces of its steps, if they were received
 */
export function reportPage(
  experiment: Experiment,
  record: RunRecord,
  verdict: Verdict,
  spans: readonly Span[] = [],
): string {
  return document(`${experiment.title}: ${verdict.outcome}`, reportBody(experiment, record, verdict, spans));
}

/** The content of the page, for a page that also shows something else. */
export function reportBody(
  experiment: Experiment,
  record: RunRecord,
  verdict: Verdict,
  spans: readonly Span[] = [],
): Html {
  return html`${header(experiment, record, verdict)}
${whyNothing(verdict, record)}
<section>
  <h2>The hypothesis</h2>
  ${hypothesis(experiment)}
</section>
<section>
  <h2>What happened to the machines</h2>
  ${whyItHappened(experiment, record)}
  ${timeline(record, verdict)}
</section>
<section>
  <h2>What was injected, and when it took effect</h2>
  ${injections(experiment, record)}
</section>
<section>
  <h2>Treatment beside control</h2>
  ${figuresTable(verdict)}
</section>
<section>
  <h2>What was expected, and what was measured</h2>
  ${expectationRows(experiment, verdict)}
</section>
<section>
  <h2>Was it put to the test?</h2>
  <p>A run proves something only if the faults took effect, the system was steady before, and what the experiment leaves alone kept working.</p>
  ${proofRows(verdict)}
</section>
<section>
  <h2>What always has to hold</h2>
  <p>The guarantees of the platform are checked in every run, whatever the experiment expects.</p>
  ${guaranteeRows(verdict)}
</section>
${consoles(record)}
${traces(record, spans)}
${footer(experiment, record)}`;
}

function header(experiment: Experiment, { run, machines }: RunRecord, verdict: Verdict): Html {
  const { words, colour } = outcomeLabels[verdict.outcome];
  const { startedMs, endedMs } = run;
  const when =
    startedMs === undefined
      ? 'The timeline never started.'
      : `It ran on ${new Date(startedMs).toISOString().slice(0, 16).replace('T', ' at ')} UTC${endedMs === undefined ? '' : ` and took ${duration(endedMs - startedMs)}`}.`;
  return html`<header>
  <span class="brand">Interlock experiment</span>
  <p class="subject">${experiment.title}</p>
  <h1>${headline(verdict)}</h1>
  <p>${reason(experiment, verdict)} ${when}</p>
  <span class="verdict ${colour}">${words}</span>
  ${figures(verdict, machines)}
</header>`;
}

/** The reason for the outcome. A failed expectation is given as a sentence, because the reader need not know expressions. */
function reason({ expect }: Experiment, { because, rules }: Verdict): string {
  const violated = rules.filter(({ result }) => result === 'violated');
  const [first] = violated;
  const failed = expect.find(({ text }) => first?.kind === 'expectation' && text === first.text);
  const words = failed && inWords(failed.expression);
  if (first === undefined || words === undefined || !because.startsWith(first.text)) return because;
  const more = violated.length === 1 ? '' : ` (and ${violated.length - 1} more)`;
  return `Expected, and not so: ${words}. Measured: ${first.seen}${more}.`;
}

function figures({ groups, bytesCompared, bytesLost }: Verdict, machines: RunRecord['machines']): Html {
  const figure = (value: string, words: string) => html`<div class="figure"><b>${value}</b><span>${words}</span></div>`;
  const time = (ms: number | null, words: string) => (ms === null ? '' : figure(duration(ms), words));
  // A group that keeps running writes until the end of the run.
  const stopping = groups.filter(({ stopped }) => stopped.max !== null);
  return html`<div class="figures">
    ${time(
      longest(stopping, ({ lastGoodWrite }) => lastGoodWrite),
      'from the access loss to the last write that succeeded, at most',
    )}
    ${time(
      longest(groups, ({ stopped }) => stopped),
      'from the access loss until a machine was off, at most',
    )}
    ${time(
      longest(groups, ({ back }) => back),
      'from giving access back until a machine worked again, at most',
    )}
    ${figure(String(machines.length), `machines in ${new Set(machines.map(({ group }) => group)).size} groups`)}
    ${figure(bytes(bytesLost), bytesCompared > 0 ? `lost of ${bytes(bytesCompared)} that were compared` : 'lost, but nothing was compared')}
  </div>`;
}

function hypothesis(experiment: Experiment): Html {
  const { expect, timeline: steps, description = '' } = experiment;
  const injected = steps.filter(({ action }) => action !== 'give-back');
  if (expect.length === 0) return html`<p>The experiment expects nothing.</p>`;
  return html`${description === '' ? '' : html`<p>${description}</p>`}<p>While this happens: ${injected.length === 0 ? 'nothing' : injected.map((step) => whatOf(experiment, step)).join('; ')}. We expect:</p>
  <ul class="hypothesis">${expect.map(({ text, expression }) => {
    const words = inWords(expression);
    return html`<li>${words === undefined ? html`<code>${text}</code>` : words}</li>`;
  })}</ul>`;
}

function timeline(record: RunRecord, { groups }: Verdict): Html {
  const period = periodOf(record);
  if (period === undefined) return html`<p>Nothing was recorded.</p>`;
  const content = recordPicture(record, treatmentFirst(groups), period);
  return html`<p>Each row is a machine that writes to its disks and reads back. Bars above the rows are faults of parts of the cloud. Times count from the
  start of the timeline; t0 is the moment at which access was taken away.</p>
  <div class="scroll wide">${picture(content)}</div>${laneLegend(content)}`;
}

/** The last console lines of machines in QEMU. */
function consoles({ machines }: RunRecord): Html {
  const printed = machines.filter(({ console = [] }) => console.length > 0);
  if (printed.length === 0) return html``;
  return html`<section>
  <h2>What the machines printed last</h2>
  ${printed.map(
    ({ name, console = [] }) => html`<details open><summary class="more">serial console of ${shortName(name)}</summary>
    <pre class="wide scroll">${console.join('\n')}</pre></details>`,
  )}
</section>`;
}

function traces({ steps }: RunRecord, spans: readonly Span[]): Html {
  const byTrace = Map.groupBy(spans, ({ traceId }) => traceId);
  const traced = steps.flatMap((step) => {
    const own = byTrace.get(step.traceId ?? '');
    return own === undefined ? [] : [{ step, own }];
  });
  if (traced.length === 0) return html``;
  return html`<section>
  <h2>How the decision travelled</h2>
  <p>Each bar is a piece of work of one service, in the order in which one caused the other.</p>
  ${traced.map(
    ({ step, own }, index) => html`<details ${{ html: index === 0 ? 'open' : '' }}>
    <summary class="more">${actionInWords(step.action)} (${step.name}): ${own.length} pieces of work in ${new Set(own.map(({ service }) => service)).size} services</summary>
    ${waterfall({ traceId: step.traceId ?? '', spans: own })}</details>`,
  )}
</section>`;
}

function footer({ seed, settings }: Experiment, { run }: RunRecord): Html {
  const pairs = (values: Readonly<Record<string, string>>): string =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${value}`)
      .join(' · ');
  const set = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  return html`<footer><p>Run ${run.id} on target “${run.target}”, seed ${run.seed}${run.seed === seed ? '' : ` (the file says ${seed})`}.</p>
  <p>Settings: ${set.length === 0 ? 'defaults' : html`<code>${set.join(' ')}</code>`}</p>
  <p>Versions: ${Object.keys(run.versions).length === 0 ? 'not recorded' : pairs(run.versions)}</p></footer>`;
}
