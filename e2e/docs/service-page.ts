import { authorization, vmHostAuthorization } from '../../services/compute/src/authorization.ts';
import { diskReactor, setReactor } from '../../services/compute/src/reactor.ts';
import { reactions as diskReactions } from '../../services/disk/src/reactor.ts';
import { reactions as setReactions } from '../../services/disk-encryption-set/src/reactor.ts';
import { reactor as identityReactor } from '../../services/identity/src/reactor.ts';
import { allows, roleNamed } from '../../services/identity/src/role-assignment/roles.ts';
import { reactor as vaultReactor } from '../../services/key-vault/src/reactor.ts';
import { filesLike, textOf } from './sources.ts';
import { statesIn } from './states.ts';
import { lineOf, rowOf } from './table.ts';

/** Services with events, in the order of the pages. */
export const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;

/** One of the five services. */
export type Service = (typeof services)[number];

/** Every page in this shape. */
export const pages = [...services, 'gateway'] as const;

/** The page of a service or of the gateway, from the root. */
export const pageOf = (name: (typeof pages)[number]): string => `services/${name}/README.md`;

/** The sections that open every page, in this order. */
export const headings = [
  'States',
  'Commands',
  'Events it publishes',
  'Events it consumes',
  'A lost key',
  'Where to read on',
] as const;

/** Only the names of the handlers are read: none runs, so no parts are needed. */
const parts = {} as never;

/** Names of the events that each service handles, by their source. */
export const consumed: Readonly<Record<Service, Readonly<Partial<Record<Service, readonly string[]>>>>> = {
  identity: { 'key-vault': Object.keys(identityReactor(parts)) },
  'key-vault': { identity: Object.keys(vaultReactor(parts)) },
  'disk-encryption-set': {
    'key-vault': Object.keys(setReactions(parts).keyVault),
    identity: Object.keys(setReactions(parts).identity),
  },
  disk: { 'disk-encryption-set': Object.keys(diskReactions(parts)) },
  compute: { 'disk-encryption-set': Object.keys(setReactor(parts)), disk: Object.keys(diskReactor(parts)) },
};

/** Sources of the reactions that a service assembles. */
export const assembledSources = (service: Service): readonly string[] =>
  [...textOf(`services/${service}/src/assemble.ts`).matchAll(/\bsource: '([\w-]+)', handlers\b/g)].map(
    ([, source = '']) => source,
  );

const protoFolder = (service: Service): string => `proto/interlock/${service.replaceAll('-', '_')}/v1/`;

/** Names of the RPCs of a service, of every gRPC service it defines. */
export const rpcsOf = (service: Service): readonly string[] =>
  filesLike(new RegExp(`^${protoFolder(service)}.*\\.proto$`)).flatMap((file) =>
    [...textOf(file).matchAll(/^ {2}rpc (\w+)\(/gm)].map(([, rpc = '']) => rpc),
  );

/** Roles for machines: each allows what those before it allow. */
const roleOrder = ['reader', 'operator', 'contributor', 'owner'];

/** The first of the roles that allows an action. */
const leastRoleFor = (action: string): string => {
  const isAllowed = (name: string): boolean => {
    const role = roleNamed(`roles/${name}`);
    return role !== undefined && allows(role, action);
  };
  const least = roleOrder.findIndex(isAllowed);
  const found = roleOrder[least];
  if (found === undefined || !roleOrder.slice(least).every(isAllowed)) {
    throw new Error(`${action} must be allowed by one of ${roleOrder.join(', ')} and by each after it`);
  }
  return found;
};

/** Who may call each RPC of compute: the least role, or the services; by name of the RPC. */
export const callersOfCompute: ReadonlyMap<string, string> = new Map(
  Object.entries({ ...authorization, ...vmHostAuthorization }).map(([method, rule]) => {
    const rpc = `${method.charAt(0).toUpperCase()}${method.slice(1)}`;
    if ('workload' in rule) return [rpc, rule.workload.join(', ')];
    // A rule that is checked for each item names its action in words.
    return [rpc, leastRoleFor('action' in rule ? rule.action : (/^[\w/]+/.exec(rule.why)?.[0] ?? ''))];
  }),
);

/** The events that a service publishes, with what its contract says of each. */
export const publishedBy = (service: Service): readonly { readonly event: string; readonly means: string }[] => {
  const [file = ''] = filesLike(new RegExp(`^${protoFolder(service)}\\w+_events\\.proto$`));
  const [, events = ''] = /\n {2}oneof event \{\n([\s\S]*?)\n {2}\}/.exec(textOf(file)) ?? [];
  return [...events.matchAll(/ {4}\/\/ (.*)\n {4}(\w+) \w+ = \d+;/g)].map(([, means = '', event = '']) => ({
    event,
    means,
  }));
};

/** Services that consume an event. */
const consumersOf = (source: Service, event: string): readonly Service[] =>
  services.filter((service) => consumed[service][source]?.includes(event));

/** The section under a heading of level two, without the heading; empty if the page has no such heading. */
export const sectionOf = (page: string, heading: string): string =>
  page
    .split(/^(?=## )/m)
    .find((section) => section.startsWith(`## ${heading}\n`))
    ?.slice(`## ${heading}\n`.length) ?? '';

/** Names in backticks in one column of the tables of a section. */
export const namesIn = (section: string, column: number): readonly string[] =>
  section
    .split('\n')
    .flatMap((line) => [...(rowOf(line)?.[column] ?? '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name));

/** The tables that the code generates, by heading. */
const generated = (name: (typeof pages)[number]): ReadonlyMap<string, readonly string[]> => {
  const tables = new Map([
    [
      'States',
      [
        '| Stream | States | Defined in |',
        ...statesIn(name).map(({ stream, states, file }) =>
          lineOf([
            `\`${stream}\``,
            states,
            `[${file.replace(`services/${name}/src/`, '')}](${file.replace(`services/${name}/`, '')})`,
          ]),
        ),
      ],
    ],
  ]);
  if (name === 'gateway') return tables;
  return tables.set('Events it publishes', [
    '| Event | Means | Consumed by |',
    ...publishedBy(name).map(({ event, means }) =>
      lineOf([
        `\`${event}\``,
        means,
        consumersOf(name, event)
          .map((consumer) => `[${consumer}](../${consumer}/README.md)`)
          .join(', ') || '–',
      ]),
    ),
  ]);
};

/** The page with the tables that the code generates: of streams and their states, and of published events. */
export const withTables = (page: string, name: (typeof pages)[number]): string => {
  const tables = generated(name);
  return page
    .split(/^(?=## )/m)
    .map((section) => {
      const [head = '', ...rows] = tables.get(/^## (.*)$/m.exec(section)?.[1] ?? '') ?? [];
      if (head === '') return section;
      const start = section.indexOf(head);
      if (start < 0) throw new Error(`${pageOf(name)} must have a table with the head ${head}`);
      const length = /^(?:\|.*\n)*/.exec(section.slice(start))?.[0].length ?? 0;
      const table = [head, head.replaceAll(/[^|]+/g, ' --- '), ...rows].join('\n');
      return `${section.slice(0, start)}${table}\n${section.slice(start + length)}`;
    })
    .join('');
};
