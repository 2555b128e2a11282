import type { Journals } from '@interlock/lab/judge/journal/journal';
import { duration, type Html, html } from '@interlock/lab/report/html';
import { document } from '@interlock/lab/report/page';
import { waterfall } from '@interlock/lab/report/waterfall';
import type { Span } from '@interlock/lab/spans/span-store';
import type { Gathered } from '../evidence/evidence.ts';
import { callsInWords } from '../terminal.ts';
import type { Step } from '../timeline.ts';
import { machineLanes } from './machine-lanes.ts';
import { primer } from './primer.ts';
import { proof } from './proof.ts';
import { rehearsalStyle } from './rehearsal-style.ts';
import type { Report } from './report.ts';
import { causeInWords, stops } from './stops.ts';
import { stopwatch } from './stopwatch.ts';
import { truth } from './truth.ts';

/** The content of the page. */
export interface PageContent {
  readonly report: Report;
  readonly startedAtMs: number;
  readonly steps: readonly Step[];
  readonly journals: Journals;
  readonly evidence: Gathered;
  readonly traces: readonly { readonly of: string; readonly traceId: string; readonly spans: readonly Span[] }[];
}

/** `report.html`: one file without external resources, for readers who do not know the project. */
export const renderPage = (content: PageContent): string => {
  const { report, steps, journals, evidence, traces } = content;
  const { machines = [] } = evidence;
  return document(
    `Interlock rehearsal: ${report.verdict}`,
    html`${header(report)}
${primer()}
<section>
  <h2>What happened to the machines</h2>
  <p>Each row is a machine that keeps writing to its disks and reading back. Where the key is lost, the green ends; where it
  is back, the machine stays off until its user starts it (some are left off on purpose), and then first checks everything it ever
  wrote. Ultra disks keep what they have open, and machines that do not use the key notice nothing. To the right, closer
  together: every other way to lose a key is tried on more machines, on the same processors.</p>
  ${machineLanes({ machines, journals, steps, evidence })}
</section>
<section>
  <h2>How fast they stop</h2>
  <p>From the moment the vault has decided. Green: reads and writes still succeeded, as the disk did not know yet. The dot:
  the machine is off.</p>
  ${stops(report)}
</section>
<section>
  <h2>Every way to lose a key</h2>
  <p>What becomes of a machine that runs, by the class of its disks under the key. <em>Mixed</em>: a Premium SSD and an ultra disk.</p>
  ${truth(evidence)}
</section>
<section>
  <h2>With a stopwatch</h2>
  <p>Each cause on machines with a key of their own: from the loss to the last read or write that succeeded, by the guests’ own
  record, and until the machine is off; then from the beginning of the way back until it runs.</p>
  ${stopwatch(report)}
</section>
<section>
  <h2>Every byte is there</h2>
  <p>After all that, each disk under that key was opened from its file with the private key its owner kept at home, and everything
  that had been acknowledged was hashed and compared with what is there.</p>
  ${proof(report)}
</section>
<section>
  <h2>How a decision travels</h2>
  <p>No one is in charge of stopping: the vault says what happened to the key, the set says whose key that is, and disks and
  machines act by themselves. Each bar is a piece of work of one service.</p>
  ${traces.map(({ of, traceId, spans }, index) => trace(of, traceId, spans, index === 0))}
</section>
<section>
  <h2>Rule by rule</h2>
  <p>Judged from outside: the machines’ own records of their reads and writes, the bytes of the files, the vault’s record, the
  state read back. Nothing is taken on a service’s word that it did well.</p>
  ${rulesTable(report)}
</section>
<section>
  <h2>Step by step</h2>
  <p>Who did what, whom they called and how long it took.</p>
  ${stepRows(content)}
</section>
${footer(report)}`,
    rehearsalStyle,
  );
};

function header({ verdict, rules, revocations, dataReturned, problems, startedAt, durationMs }: Report): Html {
  const passed = rules.filter((rule) => rule.verdict === 'pass').length;
  const [first] = revocations;
  const stopped = revocations.reduce((sum, { machines }) => sum + machines.filter((one) => one.stopped).length, 0);
  const figure = (value: string, words: string) => html`<div class="figure"><b>${value}</b><span>${words}</span></div>`;
  const compared = dataReturned.bytesCompared / 1_000_000;
  return html`<header>
  <span class="brand">Interlock rehearsal</span>
  <h1>Pull the key and the machines stop; give it back and every byte is there.</h1>
  <p>A rehearsal of customer-managed disk keys on a cloud of five services, with real encryption and machines doing real reads
  and writes. It ran on ${startedAt.slice(0, 10)} at ${startedAt.slice(11, 16)} UTC and took ${duration(durationMs)}.</p>
  <span class="verdict ${verdict}">${verdict === 'pass' ? 'Every rule holds' : 'Not every rule holds'}</span>
  ${problems.map((problem) => html`<p class="error">${problem}</p>`)}
  <div class="figures">
    ${figure(`${passed} of ${rules.length}`, 'rules hold')}
    ${figure(first?.toStoppedMs ? duration(first.toStoppedMs.p50) : '–', 'from disabling the key until half of its machines were off')}
    ${figure(String(stopped), `stops in ${revocations.length} losses of access`)}
    ${figure(`${compared.toFixed(1)} MB`, `on ${dataReturned.disks} disks compared afterwards, ${dataReturned.mismatches} differences`)}
  </div>
</header>`;
}

function trace(of: string, traceId: string, spans: readonly Span[], isOpen: boolean): Html {
  const services = new Set(spans.map(({ service }) => service)).size;
  return html`<details ${{ html: isOpen ? 'open' : '' }}>
    <summary class="more">${causeInWords(of)}: ${spans.length} pieces of work in ${services} services</summary>
    ${waterfall({ traceId, spans })}
  </details>`;
}

function rulesTable({ rules }: Report): Html {
  return html`<table class="rules"><thead><tr><th>Rule</th><th>What it promises, and what was seen</th><th></th></tr></thead><tbody>
  ${rules.map(
    ({ id, title, verdict, evidence }) => html`<tr>
    <td class="mono">${id}</td>
    <td><div class="title">${title}</div><details class="evidence" ${{ html: verdict === 'fail' ? 'open' : '' }}><summary>${evidence}</summary></details></td>
    <td><span class="tick ${verdict}">${verdict === 'pass' ? 'holds' : 'broken'}</span></td>
  </tr>`,
  )}
  </tbody></table>`;
}

function stepRows({ steps, startedAtMs, report }: PageContent): Html {
  const percent = (ms: number): string => ((ms / report.durationMs) * 90).toFixed(2);
  return html`<div class="rows steps">${steps.map(
    ({ who, title, calls, rules, startMs, durationMs, error }) => html`<div class="row">
    <div class="what"><em>${who}</em>${title} ${rules.map((id) => html`<span class="tag mono">${id}</span> `)}
      <div class="calls">${callsInWords(calls)}</div>
      ${error === undefined ? '' : html`<div class="error">${error}</div>`}</div>
    <div class="track"><i style="left: ${percent(startMs - startedAtMs)}%; width: ${percent(durationMs)}%; background: var(--${error === undefined ? 'work' : 'stop'})"></i><span style="left: ${percent(startMs - startedAtMs + durationMs)}%">${duration(durationMs)}</span></div>
  </div>`,
  )}</div>`;
}

function footer({ versions, scenario, schema }: Report): Html {
  const parts = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return html`<footer>Scenario: ${scenario}. ${parts.join(' · ')}. The same as data: <code>report.json</code> (schema ${schema}).</footer>`;
}
