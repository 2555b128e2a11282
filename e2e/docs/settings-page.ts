import { hostSpec } from '@interlock/host';
import { streamsSpec } from '@interlock/messaging';
import { type ConfigSpec, type Reader, variableOf } from '@interlock/runtime';
import { computeSpec } from '../../services/compute/src/settings.ts';
import { diskSpec } from '../../services/disk/src/settings.ts';
import { setSpec } from '../../services/disk-encryption-set/src/settings.ts';
import { identitySpec } from '../../services/identity/src/settings.ts';
import { keyVaultSpec } from '../../services/key-vault/src/settings.ts';
import { lineOf, type Row, rowOf } from './table.ts';

/** The page, from the root. */
export const settingsPage = 'docs/settings.md';

/** Headings of the page whose tables are made from specifications. */
export const specs: Readonly<Record<string, ConfigSpec>> = {
  'Every service': hostSpec,
  'NATS streams': streamsSpec,
  identity: identitySpec,
  'key-vault': keyVaultSpec,
  'disk-encryption-set': setSpec,
  disk: diskSpec,
  compute: computeSpec,
};

/** The page with the tables of specifications as the code has them; everything else as it is. */
export const withSettings = (page: string): string =>
  page
    .split(/^(?=## )/m)
    .map((section) => {
      const spec = specs[/^## (.*)$/m.exec(section)?.[1] ?? ''];
      if (spec === undefined) return section;
      const rows = Object.entries(spec)
        // What every service has is said once.
        .filter(([name, reader]) => spec === hostSpec || Reflect.get(hostSpec, name) !== reader)
        .map(([name, reader]) => lineOf(rowFor(name, reader)));
      const before = section.slice(0, section.indexOf('\n| Variable |'));
      const after = section.slice(section.lastIndexOf('|\n') + 2);
      return `${before}\n${[...head, ...rows].join('\n')}\n${after}`;
    })
    .join('');

/** Variables with a row on the page, in every table of it. */
export const variablesOn = (page: string): readonly string[] =>
  page.split('\n').flatMap((line) => {
    const [first = ''] = rowOf(line) ?? [];
    return [...first.matchAll(/`([A-Z][A-Z0-9_<>]+)`/g)].map(([, name = '']) => name);
  });

const head = ['| Variable | Unit | Values | Default | Meaning |', '| --- | --- | --- | --- | --- |'];

const rowFor = (name: string, reader: Reader<unknown>): Row => [
  `\`${variableOf(name)}\``,
  unitOf(variableOf(name)),
  valuesOf(reader.expected.replace(/, or nothing$/, '')),
  defaultOf(reader),
  reader.description.replaceAll('|', '\\|'),
];

/** What may be said, in short. */
const valuesOf = (expected: string): string => {
  const [, from = '', to = ''] = /^a whole number from (-?\d+) to (\d+)$/.exec(expected) ?? [];
  const inWords = (number: string): string => Number(number).toLocaleString('en-US');
  if (from !== '')
    return Number(to) === Number.MAX_SAFE_INTEGER ? `≥ ${inWords(from)}` : `${inWords(from)} to ${inWords(to)}`;
  const [, words] = /^one of (.*)$/.exec(expected) ?? [];
  if (words !== undefined) return words.replaceAll(/[\w/-]+/g, '`$&`');
  return expected.replace('the path of a readable file that is not empty', 'a readable file, not empty');
};

const defaultOf = (reader: Reader<unknown>): string => {
  const reading = reader.read(undefined);
  if (!reading.ok) return '**must be set**';
  const { value } = reading;
  const shown = reader.show(value);
  if (shown === '‹not set›') return '–';
  return typeof value === 'number' ? value.toLocaleString('en-US') : `\`${shown}\``;
};

/** OpenTelemetry's names say no unit. */
const unitsOf: Readonly<Record<string, string>> = {
  OTEL_METRIC_EXPORT_INTERVAL: 'ms',
  OTEL_BSP_SCHEDULE_DELAY: 'ms',
};

const unitOf = (variable: string): string => {
  const [, unit] = /_(MS|DAYS|PER_SECOND)$/.exec(variable) ?? [];
  if (unit === 'MS') return 'ms';
  if (unit === 'DAYS') return 'days';
  if (unit === 'PER_SECOND') return 'a second';
  return /(^|_)BYTES(_|$)/.test(variable) ? 'bytes' : (unitsOf[variable] ?? '');
};
