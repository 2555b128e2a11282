import type { SeededRandom } from '@interlock/runtime';
import type { Route } from '../../../services/gateway/src/http/route.ts';
import type { FuzzRequest, FuzzTarget } from './requests.ts';

/** What a hostile request is for: the end of the path of its route, and what it sends there. */
interface Hostile {
  readonly method: Route['method'];
  readonly path: string;
  readonly query?: string;
  readonly body?: unknown;
}

/** Largest text that a body of a megabyte contains. */
const large = 950_000;

const inGroup = '/subscriptions/:subscription/resourceGroups/:group/providers';
const deployment = `${inGroup}/Microsoft.Resources/deployments/:deployment`;

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

const outputs = (count: number, expression: string): object =>
  Object.fromEntries(numbers(count).map((n) => [`o${n}`, { type: 'string', value: `[${expression}]` }]));

/** Templates that need much more work or memory than their size suggests. */
const hostileTemplates: readonly (() => object)[] = [
  () => ({ variables: { a: numbers(4_000) }, outputs: outputs(60, "length(union(variables('a'),variables('a')))") }),
  () => ({ variables: { a: numbers(100_000) }, outputs: outputs(60, "contains(variables('a'),-1)") }),
  () => ({
    variables: { a: 'x'.repeat(large) },
    outputs: outputs(6, `length(concat(${Array(400).fill("variables('a')").join(',')}))`),
  }),
  () => ({ variables: { a: 'x'.repeat(large) }, outputs: outputs(6, "replace(variables('a'),'x',variables('a'))") }),
  () => ({
    variables: { a: 'x'.repeat(400_000), b: `${'x'.repeat(100_000)}y${'x'.repeat(100_000)}` },
    outputs: outputs(60, "indexOf(variables('a'),variables('b'))"),
  }),
  () => ({ variables: { a: 'x'.repeat(large) }, outputs: outputs(6, "json(replace(variables('a'),'x','['))") }),
  () => ({ variables: { a: 'x'.repeat(large) }, outputs: outputs(6, "split(variables('a'),'x')") }),
  () => ({
    variables: { a: 'x'.repeat(large) },
    outputs: outputs(60, "string(createArray(toUpper(variables('a')),base64(variables('a'))))"),
  }),
  () => ({
    variables: Object.fromEntries(
      numbers(512).map((n) => [`v${n}`, [`[variables('v${n + 1}')]`, `[variables('v${n + 1}')]`]]),
    ),
    outputs: outputs(1, "variables('v0')"),
  }),
  () => ({ outputs: { o: { type: 'array', value: Array(80_000).fill('[true()]') } } }),
  () => ({ outputs: { o: { type: 'array', value: Array(300_000).fill([]) } } }),
  () => ({ outputs: { o: { type: 'array', value: numbers(30_000).map((n) => `[reference('r${n}').a]`) } } }),
  () => ({ outputs: outputs(1, `${'not('.repeat(5_000)}true()${')'.repeat(5_000)}`) }),
  () => ({ outputs: outputs(1, "uri('x','y')") }),
  () => ({ outputs: outputs(1, 'guid(json(\'{"toString":1}\'))') }),
  () => ({ outputs: outputs(1, "uriComponent(take('\u{1f600}',1))") }),
  () => ({ parameters: Object.fromEntries(numbers(20_000).map((n) => [`p${n}`, { type: 'int', defaultValue: 1 }])) }),
  () => {
    const names = numbers(800).map((n) => `r${n}`);
    return {
      resources: names.map((name, n) => ({
        type: 'Microsoft.Network/virtualNetworks',
        apiVersion: '2023-11-01',
        name,
        dependsOn: names.slice(n + 1, n + 150).toReversed(),
      })),
    };
  },
];

/** Filters that make expressions backtrack. At most 20,000 characters: the headers end at 32 KiB. */
const filters = [
  `name eq${' '.repeat(6_000)}'a'${' '.repeat(6_000)}x`,
  `${' '.repeat(18_000)}and`,
  `${'('.repeat(18_000)}name eq 'a'`,
  `name eq '${"''".repeat(9_000)}`,
  `${"name eq 'a' and ".repeat(1_100)}x`,
  `servicePrincipalNames/any(${'c:'.repeat(9_000)}`,
];

const filtered = [
  '/subscriptions/:subscription/resources',
  '/subscriptions/:subscription/providers/Microsoft.Insights/eventtypes/management/values',
  '/subscriptions/:subscription/providers/Microsoft.Authorization/roleAssignments',
  '/subscriptions/:subscription/providers/Microsoft.Authorization/roleDefinitions',
  '/graph/v1.0/servicePrincipals',
];

const queries = [
  `Resources | where a${' '.repeat(9_000)}x`,
  `Resources | where a == '${'x'.repeat(9_000)}`,
  `Resources ${'| extend a = tags '.repeat(500)}`,
  `Resources | project ${numbers(600)
    .map((n) => `c${n} = properties`)
    .join(',')}`,
  `Resources | project ${numbers(190)
    .map((n) => `c${n} = properties`)
    .join(',')}`,
  `Resources | where a in~ (${"'x',".repeat(2_400)}'x')`,
  `Resources | where ${"isnotempty(a['b']) and ".repeat(400)}x`,
];

const hostileAt = (random: SeededRandom): Hostile => {
  const kind = random.int(5);
  // Templates are evaluated only for a group that exists, and other requests delete it.
  if (kind === 4)
    return {
      method: 'PUT',
      path: '/subscriptions/:subscription/resourceGroups/:group',
      body: { location: 'westeurope' },
    };
  if (kind === 0) return { method: 'GET', path: random.pick(filtered), query: `$filter=${random.pick(filters)}` };
  if (kind === 1) {
    const subscriptions = random.chance(0.3)
      ? { subscriptions: Array(1_000).fill('11111111-1111-4111-8111-111111111111') }
      : {};
    const body = { query: random.pick(queries), ...subscriptions };
    return { method: 'POST', path: '/providers/Microsoft.ResourceGraph/resources', body };
  }
  const [method, path] = random.pick([
    ['POST', `${deployment}/validate`],
    ['POST', `${deployment}/whatIf`],
    ['PUT', deployment],
  ] as const);
  const template = { resources: [], ...random.pick(hostileTemplates)() };
  return { method, path, body: { properties: { mode: 'Incremental', template } } };
};

/** A well-formed request that wants more work, or more memory, than it may have. */
export const hostileRequest = (routes: readonly Route[], target: FuzzTarget, random: SeededRandom): FuzzRequest => {
  const { method, path, query, body } = hostileAt(random);
  const route = routes.find((one) => one.method === method && one.path === path);
  if (route === undefined || route.access === 'public') throw new Error(`${method} ${path} is no route with a token`);
  const { subscription: [subscription = ''] = [] } = target.vocabulary.byName;
  const filled = path.replace(':subscription', subscription).replace(':group', 'g1').replace(':deployment', 'hostile');
  const parameters = [...(route.versioned ? ['api-version=2022-12-01'] : []), ...(query === undefined ? [] : [query])];
  const text = body === undefined ? undefined : JSON.stringify(body);
  return {
    route,
    method,
    host: target.host,
    path: `${filled}?${parameters.join('&').replaceAll(' ', '%20')}`,
    headers: {
      authorization: `Bearer ${target.tokens[route.access]}`,
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
    },
    body: text,
  };
};

/** A request that a client without any interest in the others sends: reads its subscription. */
export const neighbourRequest = (routes: readonly Route[], target: FuzzTarget): FuzzRequest => {
  const route = routes.find(({ method, path }) => method === 'GET' && path === '/subscriptions/:subscription');
  if (route === undefined) throw new Error('the subscription of the neighbour has no route');
  const { subscription: [subscription = ''] = [] } = target.vocabulary.byName;
  return {
    route,
    method: 'GET',
    host: target.host,
    path: `/subscriptions/${subscription}?api-version=2022-12-01`,
    headers: { authorization: `Bearer ${target.tokens.management}` },
    body: undefined,
  };
};
