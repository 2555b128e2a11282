import { hostSpec } from '@interlock/host';
import { streamsSpec } from '@interlock/messaging';
import { type ConfigSpec, type Reader, variableOf } from '@interlock/runtime';
import { computeSpec } from '../../services/compute/src/settings.ts';
import { vmHostSpec } from '../../services/compute/src/vm-host/settings.ts';
import { diskSpec } from '../../services/disk/src/settings.ts';
import { setSpec } from '../../services/disk-encryption-set/src/settings.ts';
import { gatewaySpec } from '../../services/gateway/src/settings.ts';
import { identitySpec } from '../../services/identity/src/settings.ts';
import { keyVaultSpec } from '../../services/key-vault/src/settings.ts';
import { lineOf, type Row, rowOf } from './table.ts';

/** The page, from the root. */
export const settingsPage = 'docs/settings.md';

/** Headings whose tables are generated, with their specifications. */
export const specs: Readonly<Record<string, ConfigSpec>> = {
  'Every service': hostSpec,
  'NATS streams': streamsSpec,
  identity: identitySpec,
  'key-vault': keyVaultSpec,
  'disk-encryption-set': setSpec,
  disk: diskSpec,
  compute: computeSpec,
  'A VM host': vmHostSpec,
  gateway: gatewaySpec,
};

/** The page with the tables that the specifications generate. */
export const withSettings = (page: string): string =>
  page
    .split(/^(?=## )/m)
    .map((section) => {
      const spec = specs[/^## (.*)$/m.exec(section)?.[1] ?? ''];
      if (spec === undefined) return section;
      const rows = Object.entries(spec)
        // Settings of every service are in one table.
        .filter(([name, reader]) => spec === hostSpec || Reflect.get(hostSpec, name) !== reader)
        .map(([name, reader]) => lineOf(rowFor(name, reader)));
      const before = section.slice(0, section.indexOf('\n| Variable |'));
      const after = section.slice(section.lastIndexOf('|\n') + 2);
      return `${before}\n${[...head, ...rows].join('\n')}\n${after}`;
    })
    .join('');

/** Variables with a row in a table of the page. */
export const variablesOn = (page: string): readonly string[] =>
  page.split('\n').flatMap((line) => {
    const [first = ''] = rowOf(line) ?? [];
    return [...first.matchAll(/`([A-Z][A-Z0-9_<>]+)`/g)].map(([, name = '']) => name);
  });

const head = ['| Variable | Values | Default | Meaning |', '| --- | --- | --- | --- |'];

const rowFor = (name: string, reader: Reader<unknown>): Row => [
  `\`${variableOf(name)}\``,
  valuesOf(reader.expected.replace(/, or nothing$/, '')),
  defaultOf(reader),
  reader.description.replaceAll('|', '\\|'),
];

/** Short forms of the values that readers expect. */
const shortValues: Readonly<Record<string, string>> = {
  'a text': 'text',
  'true or false': 'boolean',
  'the path of a readable file that is not empty': 'file',
  'a URL such as scheme://host:port': 'URL',
  'URLs such as scheme://host:port, separated by commas': 'URLs',
  'key=value pairs, separated by commas': 'key=value,…',
  'a number from 0 to 1': '0 to 1',
};

const valuesOf = (expected: string): string => {
  const [, from = '', to = ''] = /^a whole number from (-?\d+) to (\d+)$/.exec(expected) ?? [];
  const withCommas = (number: string): string => Number(number).toLocaleString('en-US');
  if (from !== '')
    return Number(to) === Number.MAX_SAFE_INTEGER
      ? `≥ ${withCommas(from)}`
      : `${withCommas(from)} to ${withCommas(to)}`;
  const [, options] = /^one of (.*)$/.exec(expected) ?? [];
  if (options !== undefined) return options.replaceAll(/[\w/-]+/g, '`$&`');
  return shortValues[expected] ?? expected;
};

const defaultOf = (reader: Reader<unknown>): string => {
  const reading = reader.read(undefined);
  if (!reading.ok) return '**must be set**';
  const { value } = reading;
  const shown = reader.show(value);
  if (shown === '‹not set›') return '–';
  return typeof value === 'number' ? value.toLocaleString('en-US') : `\`${shown}\``;
};
