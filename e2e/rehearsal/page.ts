import { reportBody } from '@interlock/lab/report/experiment/report-page';
import { duration, type Html, html } from '@interlock/lab/report/html';
import { document } from '@interlock/lab/report/page';
import { shortName } from '@interlock/lab/short-name';
import type { ExperimentRun } from './experiments.ts';
import type { Report } from './report.ts';

/** `report.html`: the rules, then the report of each experiment. One file without external resources. */
export const renderPage = (report: Report, runs: readonly ExperimentRun[]): string =>
  document(
    `Interlock rehearsal: ${report.verdict}`,
    html`${header(report)}
<section>
  <h2>Rule by rule</h2>
  <p>Judged from outside: by the machines’ own records of their reads and writes, the bytes of the files, the record of the vault, and
  the state read back. The losses are judged by the lab, whose reports follow.</p>
  ${rulesTable(report)}
</section>
<section>
  <h2>Every byte is there</h2>
  <p>At the end, each disk under the key was opened from its file with the private key that its owner kept at home. Everything that
  had been acknowledged was hashed and compared with what is there.</p>
  ${proof(report)}
</section>
${runs.map(({ experiment, record, verdict, spans }) => reportBody(experiment, record, verdict, spans))}
${footer(report)}`,
  );

const header = ({ verdict, rules, dataReturned, problems, startedAt, durationMs, experiments }: Report): Html => {
  const passed = rules.filter((rule) => rule.verdict === 'pass').length;
  const held = experiments.filter(({ outcome }) => outcome === 'held').length;
  const figure = (value: string, words: string) => html`<div class="figure"><b>${value}</b><span>${words}</span></div>`;
  return html`<header>
  <span class="brand">Interlock rehearsal</span>
  <h1>Pull the key and the machines stop; give it back and every byte is there.</h1>
  <p>A disk is encrypted with a data key of its own, which is stored only wrapped by the customer’s key in a vault. This rehearsal ran on
  five services with real encryption, and machines that do real reads and writes, on ${startedAt.slice(0, 10)} at ${startedAt.slice(11, 16)} UTC. It took ${duration(durationMs)}.</p>
  <span class="verdict ${verdict}">${verdict === 'pass' ? 'Every rule holds' : 'Not every rule holds'}</span>
  ${problems.map((problem) => html`<p class="error">${problem}</p>`)}
  <div class="figures">
    ${figure(`${passed} of ${rules.length}`, 'rules hold')}
    ${figure(`${held} of ${experiments.length}`, 'experiments held')}
    ${figure(`${(dataReturned.bytesCompared / 1_000_000).toFixed(1)} MB`, `on ${dataReturned.disks} disks compared at the end, ${dataReturned.mismatches} differences`)}
  </div>
</header>`;
};

const rulesTable = ({
  rules,
}: Report): Html => html`<table class="rules"><thead><tr><th>Rule</th><th>What it promises, and what was seen</th><th></th></tr></thead><tbody>
  ${rules.map(
    ({ id, title, verdict, evidence }) => html`<tr>
    <td class="mono">${id}</td>
    <td><div class="title">${title}</div><details class="evidence" ${{ html: verdict === 'fail' ? 'open' : '' }}><summary>${evidence}</summary></details></td>
    <td><span class="tick ${verdict}">${verdict === 'pass' ? 'holds' : 'broken'}</span></td>
  </tr>`,
  )}
  </tbody></table>`;

/** Digits of a hash that are shown; `report.json` has them all. */
const shownDigits = 16;

/** For each disk that could be opened: the hash of all that was acknowledged, and of the content of its file; and the names of the others. */
const proof = ({ dataReturned: { proof: opened, throughApi } }: Report): Html => {
  const hasSeveralHosts = new Set(opened.map(({ diskHost }) => diskHost)).size > 1;
  return html`<div class="scroll"><table class="figures-table stack"><thead>
    <tr><th>Disk</th>${hasSeveralHosts ? html`<th>Disk host</th>` : ''}<th class="num">Bytes</th><th>SHA-256 of what was acknowledged</th><th>of what is there</th><th></th></tr></thead><tbody>
    ${opened.map(({ disk, diskHost, bytes, acknowledged, found }) => {
      const isSame = acknowledged === found;
      return html`<tr><td class="mono">${shortName(disk)}</td>${hasSeveralHosts ? html`<td class="mono" data-label="disk host">${diskHost}</td>` : ''}<td class="num" data-label="bytes">${bytes.toLocaleString('en')}</td>
        <td class="mono" data-label="acknowledged">${acknowledged.slice(0, shownDigits)}…</td><td class="mono" data-label="there">${found.slice(0, shownDigits)}…</td>
        <td><span class="tick ${isSame ? 'pass' : 'fail'}">${isSame ? 'same' : 'differs'}</span></td></tr>`;
    })}</tbody></table></div>
    ${throughApi.length === 0 ? '' : html`<p>No key kept at home opens the files of ${throughApi.length} others. A mark written at the beginning was read back from each through the API: <span class="mono">${throughApi.map(shortName).join(', ')}</span>.</p>`}`;
};

const footer = ({ versions, scenario, schema }: Report): Html => {
  const parts = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return html`<footer>Scenario: ${scenario}. ${parts.join(' · ')}. The same as data: <code>report.json</code> (schema ${schema}).</footer>`;
};
