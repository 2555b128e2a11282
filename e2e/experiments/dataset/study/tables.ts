import { labelledMethods } from '@interlock/lab/dataset';
import type { StudyFigures } from './figures.ts';

const fraction = (value: number | null): string => (value === null ? '–' : value.toFixed(3));
const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

/** Names of the generated tables, with their content: in the page between `<!-- name -->` and `<!-- /name -->`. */
export const studyTables = (figures: StudyFigures): ReadonlyMap<string, string> =>
  new Map([
    [
      'data',
      table(
        ['Runs', 'Spans', 'Events', 'Edges', 'Spans as OTLP JSON'],
        [
          [figures.runs, figures.spans, figures.events, figures.edges]
            .map(String)
            .concat(`${(figures.bytes / 2 ** 20).toFixed(1)} MiB`),
        ],
      ),
    ],
    [
      'baselines',
      table(
        ['Method', 'Labels', 'Precision', 'Recall', 'F1', 'F1 of spans', 'Exact trees', 'Paths found', 'AC@1', 'MRR'],
        figures.baselines.map((one) => [
          one.method,
          labelledMethods.some((name) => name === one.method) ? 'read' : 'removed',
          ...[
            one.event.precision,
            one.event.recall,
            one.event.f1,
            one.span.f1,
            one.exactTrees,
            one.reachability,
            one.ac1,
            one.mrr,
          ].map(fraction),
        ]),
      ),
    ],
    [
      'carried',
      table(
        ['Kind of cause', 'Edges', 'By parents', 'By links', 'By no span'],
        figures.carried.map((one) => [one.kind, String(one.edges), ...[one.parent, one.link, one.none].map(percent)]),
      ),
    ],
    ['loss', curves('Spans lost', figures.loss, percent)],
    ['skew', curves('Clock behind', figures.skew, (ms) => `${ms} ms`)],
    [
      'sampling',
      table(
        ['Policy', 'Spans kept', 'Recall of edges', 'Stops explained'],
        figures.sampling.map((one) => [
          `\`${one.policy}\``,
          percent(one.kept),
          fraction(one.recall),
          fraction(one.explained),
        ]),
      ),
    ],
  ]);

const curves = (title: string, all: StudyFigures['loss'], name: (x: number) => string): string =>
  table(
    [title, ...all.map((curve) => curve.name)],
    (all[0]?.points ?? []).map(({ x }, index) => [
      name(x),
      ...all.map((curve) => fraction(curve.points[index]?.y ?? null)),
    ]),
  );

/** The page with its generated tables replaced. @throws Error if the page lacks the marks of a table */
export const withTables = (page: string, tables: ReadonlyMap<string, string>): string =>
  [...tables].reduce((text, [name, content]) => {
    const marks = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`);
    if (!marks.test(text)) throw new Error(`the page has no marks <!-- ${name} --> and <!-- /${name} -->`);
    return text.replace(marks, (_, before, after) => `${before}${content}\n${after}`);
  }, page);
