import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '@interlock/runtime';
import { seededRandom } from '@interlock/runtime';
import { routeTable } from '../../../services/gateway/src/assemble.ts';
import type { Route } from '../../../services/gateway/src/http/route.ts';
import { hostileRequest, neighbourRequest } from './hostile.ts';
import { type Ask, estateNames, makeEstate } from './owner.ts';
import { type FuzzRequest, type FuzzTarget, requestFor } from './requests.ts';

/** Requests in flight. */
const inFlight = 16;
/** A request that takes longer hangs, in milliseconds. Calls to services end after about ten seconds. */
const hangMs = 60_000;
/** Share of requests that want more work than they may have. */
const hostileShare = 0.02;
/** Time between two requests of the neighbour, in milliseconds. */
const neighbourPauseMs = 50;
/** How many problems are kept at most. */
const problemsMax = 50;

/** The findings of a run. */
export interface GatewayFindings {
  readonly requests: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** The longest time that the neighbour waited for a response, in milliseconds. */
  readonly neighbourMs: number;
  /** Responses that no request may get: a 500, no error body, or none in time. */
  readonly problems: readonly string[];
  /** How often the owner of the estates made each kind of resource. */
  readonly made: Readonly<Record<string, number>>;
  /** Routes that no request succeeded with. */
  readonly neverOk: readonly string[];
}

/** Only the routes are read: no handler runs, so no backends are needed. */
export const allRoutes: readonly Route[] = routeTable({ backends: {}, names: {}, key: {}, clock: {} } as never);

const nameOf = ({ method, host, path }: Route): string => `${method} ${host} ${path}`;

/** Sends this number of requests, or for this time, whichever ends first. */
export const fuzzGateway = async (options: {
  readonly target: FuzzTarget;
  readonly ca: string;
  readonly requests: number;
  readonly seconds: number;
  readonly seed: number;
  /** Only routes with this text in their name. */
  readonly only: string | undefined;
  /** Longest time that another client may wait for the response to a simple request, in milliseconds; absent: any. */
  readonly neighbourMsMax?: number;
}): Promise<GatewayFindings> => {
  const routes = allRoutes.filter((route) => options.only === undefined || nameOf(route).includes(options.only));
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight, ca: options.ca });
  const statuses: Record<string, number> = {};
  const problems: string[] = [];
  const ok = new Set<Route>();
  const sinceMs = performance.now();
  let next = 0;
  const mayContinue = (): boolean => next < options.requests && performance.now() < sinceMs + options.seconds * 1_000;
  const report = (problem: string): void => {
    if (problems.length < problemsMax) problems.push(problem);
  };
  /** Hostile requests that have no response yet. */
  const hostile = new Set<FuzzRequest>();
  const worker = async (): Promise<void> => {
    while (mayContinue()) {
      const at = next++;
      const random: SeededRandom = seededRandom(options.seed).fork(`request ${at}`);
      const isHostile = options.only === undefined && random.chance(hostileShare);
      const sent = isHostile
        ? hostileRequest(routes, options.target, random)
        : requestFor(routes[at % routes.length] as Route, options.target, random);
      const { route } = sent;
      if (isHostile) hostile.add(sent);
      const { status, problem } = await send(sent, agent, options.target.host);
      hostile.delete(sent);
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status < 400 && status > 0) ok.add(route);
      if (problem !== undefined) {
        const shown = `${sent.method} ${sent.host}${sent.path.slice(0, 500)} ${(sent.body ?? '').slice(0, 500)}`;
        report(`${problem}: request ${at}, ${shown}`);
      }
    }
  };
  const [neighbourMs, made] = await Promise.all([
    neighbour({ ...options, mayContinue, hostile, report }),
    owner({ ...options, mayContinue }),
    ...Array.from({ length: inFlight }, worker),
  ]);
  agent.destroy();
  const neverOk = routes.filter((route) => route.refusedBecause === undefined && !ok.has(route)).map(nameOf);
  return { requests: next, statuses, neighbourMs, made, problems, neverOk };
};

/** Another client: it reads its subscription again and again. @returns its longest wait in milliseconds */
const neighbour = async (parts: {
  readonly target: FuzzTarget;
  readonly ca: string;
  readonly neighbourMsMax?: number;
  readonly mayContinue: () => boolean;
  readonly hostile: ReadonlySet<FuzzRequest>;
  readonly report: (problem: string) => void;
}): Promise<number> => {
  const { target, ca, neighbourMsMax = Number.POSITIVE_INFINITY, mayContinue, hostile, report } = parts;
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca });
  const sent = neighbourRequest(allRoutes, target);
  let longestMs = 0;
  while (mayContinue()) {
    const sinceMs = performance.now();
    const during = [...hostile].map((one) => `${one.method} ${one.route.path} ${(one.body ?? one.path).slice(0, 200)}`);
    const { status } = await send(sent, agent, target.host);
    const tookMs = Math.round(performance.now() - sinceMs);
    longestMs = Math.max(longestMs, tookMs);
    if (status !== 200) report(`another client got the status ${status} for its subscription`);
    if (tookMs > neighbourMsMax) {
      report(`another client waited ${tookMs} ms for its subscription, with hostile requests: ${during.join('; ')}`);
    }
    await sleep(neighbourPauseMs);
  }
  agent.destroy();
  return longestMs;
};

/** The owner of the estates that requests are about. @returns how often it made each kind of resource */
const owner = async (parts: {
  readonly target: FuzzTarget;
  readonly ca: string;
  readonly mayContinue: () => boolean;
}): Promise<Readonly<Record<string, number>>> => {
  const { target, ca, mayContinue } = parts;
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca });
  const ask: Ask = async ({ method, host, path, token, body }) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const { status, text } = await exchange(
      { method, host, path, headers, body: JSON.stringify(body) },
      agent,
      target.host,
    );
    return status >= 200 && status < 300 ? JSON.parse(text || '{}') : undefined;
  };
  const made: Record<string, number> = {};
  for (let next = 0; mayContinue(); next += 1) {
    const estate = estateNames[next % estateNames.length] as string;
    for (const kind of await makeEstate(estate, target, ask)) made[kind] = (made[kind] ?? 0) + 1;
  }
  agent.destroy();
  return made;
};

interface Outcome {
  /** 0: no response. */
  readonly status: number;
  readonly problem: string | undefined;
}

const send = async (sent: FuzzRequest, agent: Agent, address: string): Promise<Outcome> => {
  const { status, text, error } = await exchange(sent, agent, address);
  return { status, problem: error ?? problemOf(status, text, sent) };
};

/** Never rejects. @returns with status 0 the reason why there is no response */
const exchange = (
  sent: Pick<FuzzRequest, 'method' | 'host' | 'path' | 'headers' | 'body'>,
  agent: Agent,
  address: string,
): Promise<{ readonly status: number; readonly text: string; readonly error?: string }> =>
  new Promise((resolve) => {
    const [, port] = address.split(':');
    const failed = (error: string): void => resolve({ status: 0, text: '', error });
    const { method, path } = sent;
    const headers = { ...sent.headers, host: sent.host };
    const options = { agent, host: 'localhost', port, servername: 'localhost', method, path, headers, timeout: hangMs };
    const out = request(options, (reply) => {
      const parts: Buffer[] = [];
      reply.on('data', (part: Buffer) => parts.push(part));
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text: Buffer.concat(parts).toString() }));
      reply.on('error', (error) => failed(`the answer broke off (${error.message})`));
    });
    out.on('timeout', () => out.destroy(new Error(`no answer within ${hangMs} ms`)));
    out.on('error', (error) => failed(error.message));
    out.end(sent.body);
  });

/** Why no request may get this response; undefined if it is allowed. */
const problemOf = (status: number, body: string, { method, route }: FuzzRequest): string | undefined => {
  if (status < 400 || method === 'HEAD') return status === 500 ? 'status 500' : undefined;
  if (status >= 500 && status !== 503 && status !== 504) return `status ${status} ${body.slice(0, 300)}`;
  if (route.access === 'public' && route.isForm === true) return undefined;
  try {
    const { error } = JSON.parse(body) as { readonly error?: { readonly code?: unknown; readonly message?: unknown } };
    if (typeof error?.code === 'string' && typeof error.message === 'string') return undefined;
  } catch {
    // Falls through: the body is no JSON.
  }
  return `status ${status} without an error body: ${body.slice(0, 300)}`;
};
