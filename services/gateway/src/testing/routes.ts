import { Readable } from 'node:stream';
import type { Clock } from '@interlock/runtime';
import { type Static, Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { Dispatch } from '../http/dispatch.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import type { Require } from '../management/permissions.ts';
import { type CallLauncher, cloudParts } from './control.ts';

/** What clients may do to a cloud in a test. */
export const testControls = ['clock', 'estate', 'faults'] as const;
export type TestControl = (typeof testControls)[number];

/** What the routes for tests need. */
export interface TestParts {
  readonly names: CloudNames;
  readonly clock: Pick<Clock, 'now'>;
  readonly dispatch: Dispatch;
  readonly require: Require;
  /** What is enabled. */
  readonly enabled: ReadonlySet<TestControl>;
  /** undefined: no launcher controls this cloud. */
  readonly launcher: CallLauncher | undefined;
}

/** Longest estate file in bytes. */
const estateBytesMax = 4 * 1024 * 1024;
/** Longest message of an error, in characters: a file may have many problems. */
const messageLengthMax = 10_000;
/** A clock moves at most so far at once, in milliseconds: ten years. */
const advanceMsMax = 3_650 * 86_400_000;
/** A fault lasts at most an hour. */
const faultMsMax = 3_600_000;

const Duration = Type.String({ pattern: '^\\d{1,7}(ms|s|m|h|d)$', description: 'such as 500ms, 30s, 2m, 12h or 7d' });
/** One of some names; a pattern, because its error lists them. */
const oneOf = <const Name extends string>(names: readonly Name[]) =>
  Type.Unsafe<Name>(Type.String({ pattern: `^(${names.join('|')})$` }));
const ClockBody = Type.Object({ advance: Duration }, { additionalProperties: false });
const FaultBody = Type.Object(
  {
    action: oneOf(['kill', 'pause', 'resume', 'restart', 'slow', 'cut']),
    part: oneOf(cloudParts),
    for: Type.Optional(Duration),
  },
  { additionalProperties: false },
);

const host = 'gateway';
const base = '/interlock/v1';

/** Routes for tests: clocks, faults and estates of the cloud. Each is refused unless a setting enables it and the caller may use it. */
export const testRoutes = (parts: TestParts): readonly Route[] => {
  const controls = new Controls(parts);
  return [
    route({
      host,
      versioned: false,
      method: 'GET',
      path: `${base}/clock`,
      does: 'Reads the clock of the cloud (for tests)',
      handle: async (_request, caller) => controls.clock(0, caller),
    }),
    route({
      host,
      versioned: false,
      method: 'POST',
      path: `${base}/clock`,
      does: 'Moves the clocks of all services forward (for tests)',
      body: ClockBody,
      handle: async ({ body }, caller) => controls.clock(milliseconds('advance', body.advance, advanceMsMax), caller),
    }),
    route({
      host,
      versioned: false,
      method: 'GET',
      path: `${base}/faults`,
      does: 'Lists the processes of the cloud and their states (for tests)',
      handle: async (_request, caller) => {
        const launcher = await controls.admit('faults', 'read', caller);
        return { body: { value: await launcher('processes', {}) } };
      },
    }),
    route({
      host,
      versioned: false,
      method: 'POST',
      path: `${base}/faults`,
      does: 'Kills, pauses, resumes or restarts a part of the cloud (for tests)',
      body: FaultBody,
      handle: ({ body }, caller) => controls.fault(body, caller),
    }),
    route({
      host,
      versioned: false,
      method: 'GET',
      path: `${base}/estate`,
      does: 'Exports the estate of a resource group as a file (for tests)',
      handle: (request, caller) => controls.exported(request, caller),
    }),
    route({
      host,
      versioned: false,
      method: 'POST',
      path: `${base}/estate`,
      does: 'Imports an estate file into a resource group (for tests)',
      body: Type.String({ minLength: 1 }),
      bodyBytesMax: estateBytesMax,
      handle: (request, caller) => controls.imported(request, caller),
    }),
  ];
};

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** @param text fits the schema @throws RestError 400 */
const milliseconds = (field: string, text: string, max: number): number => {
  const [, amount = '', unit = ''] = /^(\d+)([a-z]+)$/.exec(text) ?? [];
  const ms = Number(amount) * (unitMs[unit] ?? 0);
  if (ms > 0 && ms <= max) return ms;
  throw new RestError(
    400,
    'InvalidRequestContent',
    `${field} must be more than 0 and at most ${max / 86_400_000 >= 1 ? `${max / 86_400_000}d` : `${max / 3_600_000}h`} (got ${text})`,
  );
};

type EstateRequest = Pick<RouteRequest<string, unknown>, 'query' | 'headers'>;

class Controls {
  readonly #parts: TestParts;

  constructor(parts: TestParts) {
    this.#parts = parts;
  }

  /** @throws RestError 403 for what is not enabled here, or not allowed to the caller */
  async admit(control: TestControl, verb: 'read' | 'write', caller: Caller): Promise<CallLauncher> {
    const { enabled, launcher, require } = this.#parts;
    if (!enabled.has(control) || launcher === undefined) {
      const message = `${base}/${control} is not enabled in this deployment: start it with npm run up -- --azure --test-controls`;
      throw new RestError(403, 'NotEnabled', message);
    }
    await require(caller, `testing/${control}/${verb}`, '/');
    return launcher;
  }

  async clock(advanceMs: number, caller: Caller): Promise<RouteReply> {
    const launcher = await this.admit('clock', advanceMs === 0 ? 'read' : 'write', caller);
    const { aheadMs } = await launcher('clock', advanceMs === 0 ? {} : { advanceMs });
    return { body: { now: new Date(this.#parts.clock.now()).toISOString(), aheadSeconds: aheadMs / 1_000 } };
  }

  async fault({ action, part, for: length }: Static<typeof FaultBody>, caller: Caller): Promise<RouteReply> {
    const launcher = await this.admit('faults', 'write', caller);
    if (action === 'slow' || action === 'cut') {
      const message = `${action} needs links that can be disturbed, which this deployment does not have: run it in an experiment (npx interlock experiment run)`;
      throw new RestError(400, 'NotSupported', message);
    }
    const isLasting = action === 'kill' || action === 'pause';
    if (!isLasting && length !== undefined)
      throw new RestError(400, 'InvalidRequestContent', `for is allowed with kill and pause only (got ${action})`);
    // The gateway checks the caller's rights at identity, which needs its store.
    if (isLasting && length === undefined && (part === 'identity' || part === 'postgres'))
      throw new RestError(400, 'InvalidRequestContent', `for is required: without ${part} no later request is allowed`);
    const forMs = length === undefined ? undefined : milliseconds('for', length, faultMsMax);
    await launcher(action, { part, ...(forMs === undefined ? {} : { forMs }) });
    return { status: 202, body: { action, part, ...(length === undefined ? {} : { for: length }) } };
  }

  async exported(request: EstateRequest, caller: Caller): Promise<RouteReply> {
    const launcher = await this.admit('estate', 'read', caller);
    const out = await this.#run(launcher, 'export', request, caller, {});
    return { stream: Readable.from([out]), headers: { 'content-type': 'application/yaml; charset=utf-8' } };
  }

  async imported({ body, ...request }: EstateRequest & { readonly body: string }, caller: Caller): Promise<RouteReply> {
    const launcher = await this.admit('estate', 'write', caller);
    const { vaultSuffix } = request.query;
    await this.#makeGroup(request);
    const out = await this.#run(launcher, 'import', request, caller, { text: body, vaultSuffix });
    return { body: JSON.parse(out) };
  }

  /** Groups exist in the gateway only: an import makes one, so that its resources can be listed and deleted. */
  async #makeGroup({ query, headers }: EstateRequest): Promise<void> {
    const { dispatch } = this.#parts;
    const { subscription, group } = this.#place(query);
    const url = `/subscriptions/${subscription}/resourceGroups/${encodeURIComponent(group)}?api-version=2024-11-01`;
    const found = await dispatch.send({ method: 'GET', url }, headers);
    if (found.status < 400) return;
    const made = await dispatch.send({ method: 'PUT', url, body: { location: 'westeurope' } }, headers);
    if (made.status < 400) return;
    const { error } = made.body as { readonly error: { readonly code: string; readonly message: string } };
    throw new RestError(made.status, error.code, error.message);
  }

  /** @throws RestError 400 */
  #place(query: EstateRequest['query']): { readonly subscription: string; readonly group: string } {
    const { subscription, group } = query;
    if (subscription && group) return { subscription, group };
    throw new RestError(
      400,
      'InvalidParameter',
      'the query must have subscription and group: ?subscription=<id>&group=<resource group>',
    );
  }

  async #run(
    launcher: CallLauncher,
    verb: 'export' | 'import',
    { query }: EstateRequest,
    caller: Caller,
    more: { readonly text?: string; readonly vaultSuffix?: string | undefined },
  ): Promise<string> {
    const { subscription, group } = this.#place(query);
    const tokens = Object.fromEntries(
      (['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const).map((service) => [
        service,
        caller.as(service).token,
      ]),
    );
    const place = { subscription: this.#parts.names.subscriptions.inner(subscription), group: group.toLowerCase() };
    const estate = { verb, ...place, caller: { principal: caller.principal, tokens }, ...more };
    const { exitCode, out, err } = await launcher('estate', { estate });
    if (exitCode === 0) return out;
    throw commandError(err);
  }
}

/** The refusal of the command line: lines for people, or problems of the file and then an error as JSON. */
const commandError = (err: string): RestError => {
  const [problems = '', json = '}'] = err.split(/^\{/m);
  const { error } = JSON.parse(`{${json}`) as { readonly error?: { readonly code: string; readonly message: string } };
  const said = problems
    .replace(/^-:(\d+):/gm, 'line $1:')
    .replace(/^error: /gm, '')
    .trim();
  const message = [said, error?.message].filter(Boolean).join('\n').slice(0, messageLengthMax);
  const code = error?.code ?? /^error: ([A-Z]+(?:_[A-Z]+)*) [A-Z_]+:/m.exec(err)?.[1] ?? 'USAGE';
  if (code === 'PERMISSION_DENIED') return new RestError(403, 'AuthorizationFailed', message);
  return code === 'USAGE' ? new RestError(400, 'InvalidEstate', message) : new RestError(409, 'Conflict', message);
};
