import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callerOf } from '../cloud/caller.ts';
import { testNames as names, testSubscription as subscription } from '../cloud/test-names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { CallLauncher } from './control.ts';
import { type TestParts, testRoutes } from './routes.ts';
import { testingOf } from './testing-settings.ts';

const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;
const tokens = Object.fromEntries(services.map((service) => [service, `token of ${service}`]));
const caller = callerOf({ principal: 'p', tenant: 't', correlationId: 'c', address: '127.0.0.1', tokens });

/** The routes over a launcher that answers as given. */
const routesWith = (parts: Partial<TestParts>, result: unknown = {}) => {
  const calls: unknown[] = [];
  const launcher = (async (...given: readonly unknown[]) => {
    calls.push(given);
    return result;
  }) as unknown as CallLauncher;
  const routes = testRoutes({
    names,
    clock: { now: () => 0 },
    dispatch: { send: async () => ({ status: 200, body: undefined }), attach: () => undefined },
    require: async () => undefined,
    enabled: new Set(['clock', 'estate', 'faults']),
    launcher,
    ...parts,
  });
  const send = async (method: string, path: string, request: object = {}) => {
    const route = routes.find((one) => one.method === method && one.path === `/interlock/v1/${path}`);
    if (route === undefined) throw new Error(`no ${method} ${path}`);
    return route.handle({ query: { subscription, group: 'G1' }, headers: {}, body: {}, ...request } as never, caller);
  };
  return { send, calls };
};

const all = [
  ['GET', 'clock', {}],
  ['POST', 'clock', { body: { advance: '7d' } }],
  ['GET', 'faults', {}],
  ['POST', 'faults', { body: { action: 'kill', part: 'disk' } }],
  ['GET', 'estate', {}],
  ['POST', 'estate', { body: 'machines: []' }],
] as const;

test('a control that is not enabled, and a caller without the right, are refused, and nothing is called', async () => {
  const refused = new RestError(403, 'AuthorizationFailed', 'no');
  const scopes: string[] = [];
  const require: TestParts['require'] = async (_caller, action, scope) => {
    scopes.push(`${action} ${scope}`);
    throw refused;
  };
  for (const [parts, code] of [
    [{ enabled: new Set() }, 'NotEnabled'],
    [{ launcher: undefined }, 'NotEnabled'],
    [{ require }, 'AuthorizationFailed'],
  ] as const) {
    const { send, calls } = routesWith(parts as Partial<TestParts>);
    for (const [method, path, request] of all)
      await assert.rejects(send(method, path, request), { status: 403, code }, `${method} ${path}`);
    assert.deepEqual(calls, []);
  }
  assert.deepEqual(scopes, [
    'testing/clock/read /',
    'testing/clock/write /',
    'testing/faults/read /',
    'testing/faults/write /',
    'testing/estate/read /',
    'testing/estate/write /',
  ]);
});

test('the launcher gets durations in milliseconds, and the tokens of the caller', async () => {
  const { send, calls } = routesWith({}, { aheadMs: 5_000, exitCode: 0, out: '{}', err: '' });
  const { body } = await send('POST', 'clock', { body: { advance: '7d' } });
  assert.deepEqual(body, { now: '1970-01-01T00:00:00.000Z', aheadSeconds: 5 });
  await send('POST', 'faults', { body: { action: 'pause', part: 'identity', for: '20s' } });
  await send('POST', 'estate', { body: 'text' });
  assert.deepEqual(calls, [
    ['clock', { advanceMs: 604_800_000 }],
    ['pause', { part: 'identity', forMs: 20_000 }],
    [
      'estate',
      {
        estate: {
          verb: 'import',
          subscription: 'dev',
          group: 'g1',
          caller: { principal: 'p', tokens },
          text: 'text',
          vaultSuffix: undefined,
        },
      },
    ],
  ]);
});

test('an error of the command line is translated to its HTTP status', async () => {
  const json = (code: string): string => JSON.stringify({ error: { code, reason: 'R', message: 'why' } }, undefined, 2);
  const cases = [
    [`-:3: no set\n${json('USAGE')}`, 400, 'InvalidEstate', 'line 3: no set\nwhy'],
    [json('PERMISSION_DENIED'), 403, 'AuthorizationFailed', 'why'],
    [json('FAILED_PRECONDITION'), 409, 'Conflict', 'why'],
    ['error: PERMISSION_DENIED ACCESS_DENIED: no', 403, 'AuthorizationFailed', 'PERMISSION_DENIED ACCESS_DENIED: no'],
  ] as const;
  for (const [err, status, code, message] of cases) {
    const { send } = routesWith({}, { exitCode: 1, out: '', err });
    await assert.rejects(send('POST', 'estate', { body: 'text' }), { status, code, message });
  }
});

test('GATEWAY_TEST_ROUTES accepts existing controls only, and needs the control socket', () => {
  const of = (gatewayTestRoutes: string | undefined, gatewayControlSocket: string | undefined) =>
    testingOf({ gatewayTestRoutes, gatewayControlSocket });
  assert.deepEqual([...of('clock,faults', '/socket').enabled], ['clock', 'faults']);
  assert.equal(of(undefined, undefined).enabled.size, 0);
  assert.throws(() => of('clocks', '/socket'), /GATEWAY_TEST_ROUTES has only clock, estate, faults \(got "clocks"\)/);
  assert.throws(() => of('clock', undefined), /GATEWAY_TEST_ROUTES needs GATEWAY_CONTROL_SOCKET/);
});
