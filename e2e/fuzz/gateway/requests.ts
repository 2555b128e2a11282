import type { SeededRandom } from '@interlock/runtime';
import type { Route } from '../../../services/gateway/src/http/route.ts';
import { textFor, type Vocabulary, valueFor } from './schema-values.ts';

/** Tokens by their purpose. */
export type FuzzTokens = Readonly<Record<Exclude<Route['access'], 'public'>, string>>;

/** A request as it is on the wire. */
export interface FuzzRequest {
  readonly route: Route;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The target of the requests. */
export interface FuzzTarget {
  /** host:port of the gateway. */
  readonly host: string;
  /** Host of a vault, with `{vault}`. */
  readonly vaultHost: string;
  readonly tokens: FuzzTokens;
  readonly vocabulary: Vocabulary;
}

const versions = ['2024-11-01', '2022-12-01', '7.4', '2025-07-01'];
const oddVersions = ['', 'x', '1', '9999-99-99', '7.4-preview.99', '%00'];
const queries = [
  "$filter=roleName eq 'Reader'",
  '$top=2',
  '$top=-1',
  'maxresults=1',
  '$skiptoken=eA',
  '$expand=instanceView',
  'a=b',
  '%zz=%zz',
];

/** A request of this route's shape. Each part of it may be well-formed or odd. */
export const requestFor = (route: Route, target: FuzzTarget, random: SeededRandom): FuzzRequest => {
  const { vocabulary } = target;
  const params = new Map<string, string>();
  // Without its group nothing of the owner is left: only another group is deleted.
  const isGroupDeletion = route.method === 'DELETE' && route.path.toLowerCase().endsWith('/resourcegroups/:group');
  const segments = route.path.split('/').map((segment) => {
    if (segment === '') return '';
    if (!segment.startsWith(':'))
      return random.chance(0.02) ? textFor('segment', vocabulary, random) : cased(segment, random);
    const name = segment.slice(1);
    const value = isGroupDeletion && name === 'group' ? 'g2' : textFor(name, vocabulary, random);
    params.set(name, value);
    return random.chance(0.02) ? value : encodeURIComponent(value);
  });
  const isVault = route.host === 'vault';
  // The first segment of a vault's route is its name, which is in the host.
  const path = (isVault ? ['', ...segments.slice(2)] : segments).join('/') || '/';
  const host = isVault ? target.vaultHost.replace('{vault}', hostLabel(params.get('vault') ?? 'kv')) : target.host;
  const slashed = random.chance(0.05) ? path.replaceAll('/', '//') : path;
  const body = bodyFor(route, vocabulary, random);
  return {
    route,
    method: random.chance(0.01) ? random.pick(['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']) : route.method,
    host: random.chance(0.01) ? 'example.com' : host,
    path: `${wire(slashed)}${queryFor(route, random)}`,
    // Otherwise Node sends the body of a GET without its length, and the server reads the rest as another request.
    headers: {
      ...headersFor(route, target.tokens, random),
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    },
    body,
  };
};

const cased = (segment: string, random: SeededRandom): string => (random.chance(0.1) ? segment.toLowerCase() : segment);

const hostLabel = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '')
    .slice(0, 60) || 'kv';

/** Keeps only characters that are allowed in the first line of a request. */
const wire = (text: string): string => text.replace(/[^\x21-\x7e]/gu, (one) => encodeURIComponent(one));

const queryFor = (route: Route, random: SeededRandom): string => {
  const parts = [];
  if (route.versioned && random.chance(0.97)) {
    const version = random.chance(0.03) ? random.pick(oddVersions) : random.pick(versions);
    parts.push(`${random.chance(0.2) ? 'api%2Dversion' : 'api-version'}=${version}`);
  }
  if (random.chance(0.15)) parts.push(random.pick(queries));
  return parts.length === 0 ? '' : `?${wire(parts.join('&'))}`;
};

const headersFor = (route: Route, tokens: FuzzTokens, random: SeededRandom): Readonly<Record<string, string>> => {
  const kind = route.access === 'public' ? 'management' : route.access;
  const token = random.chance(0.02) ? tokens[random.pick(['management', 'vault', 'directory'] as const)] : tokens[kind];
  const type = route.isForm === true ? 'application/x-www-form-urlencoded' : 'application/json';
  return {
    ...(random.chance(0.02) ? {} : { authorization: `Bearer ${random.chance(0.02) ? `${token}x` : token}` }),
    ...(route.body === undefined ? {} : { 'content-type': random.chance(0.01) ? 'text/plain' : type }),
    ...(random.chance(0.1) ? { 'x-ms-client-request-id': random.uuid() } : {}),
    ...(random.chance(0.05) ? { 'x-ms-correlation-request-id': random.chance(0.5) ? 'x' : random.uuid() } : {}),
  };
};

const bodyFor = (route: Route, vocabulary: Vocabulary, random: SeededRandom): string | undefined => {
  if (route.body === undefined) return random.chance(0.01) ? '{}' : undefined;
  const value = valueFor(route.body, 'body', { vocabulary, random, oddness: random.pick([0, 0, 0, 0.02, 0.2]) });
  if (route.isForm === true)
    return new URLSearchParams(
      Object.entries(value ?? {}).map(([name, one]): [string, string] => [name, String(one)]),
    ).toString();
  const text = JSON.stringify(value);
  if (!random.chance(0.03)) return text;
  const at = random.int(text.length + 1);
  return random.pick([text.slice(0, at), `${text.slice(0, at)}\u0000${text.slice(at)}`, `${'['.repeat(5_000)}`, '']);
};
