import { visibleInLine } from '@interlock/runtime';
import type { CollectionManifest, Source, Spread } from './manifest.ts';
import { spansIn } from './otlp.ts';
import type { RunData } from './run-data.ts';

/** Parts of a datasheet that are the same for each. */
const motivation = `## Motivation

To evaluate methods that derive causes from traces, with causes that do not come from telemetry. Five event-sourced services store with each event which events caused it. Spans are recorded beside that, so the two can be compared.
`;

const answers = `## Answers in the telemetry

The services copy answers into their telemetry. A method that reads them does not derive causes, so its score says nothing about it.

- **Labels**: \`interlock.cause.ids\` names the causes of events, \`interlock.event.ids\` the events of a span. Leave them out: \`interlock dataset export --blind\`. \`interlock dataset score\` does so for each of its methods; declare in \`reads\` what yours reads.
- **Links of appends**: a span that stores events links to the spans that stored their causes. Services write these links because they know the causes. They are features of this system; most systems do not have them. Say so if your method reads \`span.links\`.
- \`interlock.correlation_id\` is the same for a request and all that follows from it.

`;

const sourcesLine = (source: Source | undefined): string =>
  source === undefined ? '' : `Sources: version ${source.version}, commit ${source.commit} of ${source.date}.\n\n`;

/** `DATASHEET.md`, after "Datasheets for Datasets" (Gebru et al., 2021). */
export const datasheet = ({ facts, traces, events, edges, faults, io }: RunData): string => {
  const spans = spansIn(traces);
  const links = spans.reduce((sum, span) => sum + (span.links?.length ?? 0), 0);
  const of = (kind: string): number => edges.filter(({ carriedBy }) => carriedBy === kind).length;
  const changes = facts.changes.length === 0 ? ['It is as recorded.'] : facts.changes.map((one) => `- ${one}`);
  return `# Datasheet: ${visibleInLine(facts.title)}

${motivation}
## Composition

| Part | Count |
| --- | --- |
| spans (links) | ${spans.length} (${links}) |
| stored events | ${events.length} |
| causal edges | ${edges.length} |
| … carried by parents, by links, by no span | ${of('parent')}, ${of('link')}, ${of('none')} |
| steps of the timeline | ${faults.length} |
| operations of guests | ${io.length} |

Every file is in \`manifest.json\` with its SHA-256. \`traces\`, \`metrics\` and \`logs\` are OTLP in its JSON form, one export request a line. \`truth/\` is not telemetry: it comes from the event stores, the timeline and the guests' journals.

The data set contains no personal data and no secrets. Machines, disks, keys and principals are synthetic. Data of events is left out.

## Collection

Run \`${facts.run}\` of the experiment in \`experiment.yaml\`, seed ${facts.seed}, target ${facts.target}, from ${facts.startedAt} to ${facts.endedAt} (UTC${facts.target === 'simulated' ? ', virtual time' : ''}). Outcome: ${facts.outcome}.

${sourcesLine(facts.source)}${Object.entries({ ...facts.versions, ...facts.hardware })
  .map(([name, value]) => `- ${name}: ${value}`)
  .join('\n')}

## Changes since

${changes.join('\n')}

${answers}## Uses and limits

- Made for edge recovery, root cause ranking, and studies of sampling, loss and clock skew.
- One system, one machine: absolute durations do not generalise.
- Edges of events of the phase \`setup\` are not scored.
${facts.target === 'simulated' ? '- Times are virtual: work takes no time, only waiting does. Do not study durations here.\n' : ''}
## Distribution and maintenance

Apache-2.0. The command that recorded it records it again: \`interlock dataset record experiment.yaml --seed ${facts.seed}${facts.target === 'simulated' ? ' --target simulated' : ''} --out DIR\`.
`;
};

/** `CITATION.cff`, version 1.2.0 of the Citation File Format. */
export const citation = ({ facts }: RunData): string =>
  cff({
    title: `${facts.title} (seed ${facts.seed}, ${facts.target})`,
    version: facts.run,
    date: facts.source?.date ?? facts.startedAt.slice(0, 10),
    source: facts.source,
  });

/** The same for a collection. Without its sources, the day is that of no commit and left out. */
export const collectionCitation = ({ title, source }: CollectionManifest): string =>
  cff({ title, version: source?.version ?? 'unknown', date: source?.date, source });

const cff = (what: {
  readonly title: string;
  readonly version: string;
  readonly date: string | undefined;
  readonly source: Source | undefined;
}): string => `cff-version: 1.2.0
message: If you use this data set, please cite it as below.
type: dataset
title: ${JSON.stringify(`Interlock traces with exact causes: ${what.title}`)}
authors:
  - name: The Interlock authors
version: ${JSON.stringify(what.version)}
${what.date === undefined ? '' : `date-released: ${JSON.stringify(what.date)}\n`}${what.source === undefined || what.source.commit === 'unknown' ? '' : `commit: ${what.source.commit}\n`}license: Apache-2.0
`;

const spreadText = ({ least, mean, most }: Spread): string => `${least} to ${most}, mean ${mean}`;

/** `DATASHEET.md` of a collection; each of its runs has its own. */
export const collectionDatasheet = ({ title, runs, source, distribution, splits }: CollectionManifest): string => {
  const actions = Object.entries(distribution.actions).map(([name, count]) => `| ${name} | ${count} |`);
  return `# Datasheet: ${visibleInLine(title)}

${motivation}
## Composition

| Part | Count |
| --- | --- |
| runs | ${distribution.runs} |
| causal graphs that differ in more than ids and times | ${distribution.distinctGraphs} |
| runs for training, validation, test | ${splits.train.length}, ${splits.validation.length}, ${splits.test.length} |
| machines of a run | ${spreadText(distribution.machines)} |
| stored events of a run | ${spreadText(distribution.events)} |
| causal edges of a run | ${spreadText(distribution.edges)} |
| spans of a run | ${spreadText(distribution.spans)} |
| machines that stopped because of a fault; of these in another trace than the fault | ${distribution.symptoms}; ${distribution.symptomsInOtherTraces} |

| Action | Runs |
| --- | --- |
${actions.join('\n')}

Each folder named in \`manifest.json\` is a run, with a datasheet of its own. No causal graph is in two splits. \`exports/labelled\` and \`exports/blind\` have the same runs as Parquet, with and without the answers in the telemetry.

The data set contains no personal data and no secrets. Machines, disks, keys and principals are synthetic. Data of events is left out.

## Collection

${sourcesLine(source)}Seeds: ${runs.map(({ path, seed }) => `${seed} (\`${path}\`)`).join(', ')}.

${answers}## Uses and limits

- Made for edge recovery, root cause ranking, and studies of sampling, loss and clock skew.
- One system, one machine: absolute durations do not generalise. Times of runs named \`simulated-…\` are virtual: work takes no time, only waiting does.
- Edges of events of the phase \`setup\` are not scored.

## Distribution and maintenance

Apache-2.0. \`interlock dataset check\` checks the unpacked folder, and \`sha256sum --check SHA256SUMS\` each file. The same sources and seeds record the same simulated runs, byte for byte; runs of real processes differ each time.
`;
};
