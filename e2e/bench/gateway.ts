import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { type GatewayAccess, startGateway } from '@interlock/local/gateway.ts';
import type { Scope } from '@interlock/runtime';
import { makeWorld } from '../cloud/world.ts';
import { type BenchCloud, benchOf, openCloud } from './bench.ts';
import { cpuTimes, worked } from './fleet/processes.ts';
import { inFlight, percentile, rounded, timed } from './measure.ts';

/** Calls of a sample, for each that is in flight. */
const callsEach = { one: 300, more: 30 } as const;

/**
 * GET of a key through the gateway, `size` in flight, by keep-alive HTTPS. Floor, alternately: the corresponding gRPC call, by the same
 * client on the same cores. `addedMs`: what the gateway adds to the median of one call.
 */
export const gateway = benchOf(
  {
    name: 'gateway',
    unit: 'requests/s',
    sizes: [1, 32],
    smoke: 1,
    setUp: async (options, scope) => {
      const opened = await openCloud(options, scope);
      const processes = new Map<number, string>();
      const access = await startGateway({
        ...{ cloud: opened.cloud, data: opened.data, env: process.env },
        ...{ name: opened.name, temporary: true, within: scope },
        onStart: ({ pid }) => void processes.set(pid, 'gateway'),
      });
      return { cloud: opened.cloud, processes, calls: await openCalls(opened, access, scope) };
    },
  },
  async ({ size, usually, rounds }, { cloud, processes, calls }) => {
    const count = usually(size * (size === 1 ? callsEach.one : callsEach.more), 3);
    const sample = async (way: keyof typeof calls) => {
      const latencies: number[] = [];
      const work = () => inFlight(size, count, async () => void latencies.push(await timed(calls[way])));
      return { latencies, ...(await worked(count, () => cpuTimes(cloud, processes), work)) };
    };
    const samples = await rounds(5, async () => ({ http: await sample('http'), grpc: await sample('grpc') }));
    const ratesOf = (way: keyof typeof calls) => samples.map((each) => (count * 1_000) / each[way].tookMs);
    const latencies = (way: keyof typeof calls) => samples.flatMap((each) => each[way].latencies);
    const { http, grpc } = samples.at(-1) ?? {};
    const [p50Ms, floorP50Ms] = [percentile(latencies('http'), 0.5), percentile(latencies('grpc'), 0.5)];
    const details = {
      p50Ms: rounded(p50Ms),
      floorP50Ms: rounded(floorP50Ms),
      addedMs: rounded(p50Ms - floorP50Ms),
      p99Ms: rounded(percentile(latencies('http'), 0.99)),
      ...http?.cpu,
      ...Object.fromEntries(Object.entries(grpc?.cpu ?? {}).map(([name, us]) => [`floor:${name}`, us])),
    };
    return { values: ratesOf('http'), floors: ratesOf('grpc'), details };
  },
);

/** Both ways to read one key. @throws Error for any response except the key */
const openCalls = async ({ cloud, clients }: BenchCloud, access: GatewayAccess, scope: Scope) => {
  const { vault, keyVersion } = await makeWorld(clients, []);
  const [, vaultName = ''] = vault.split('/');
  const ca = readFileSync(access.authorityFile);
  const agent = new Agent({ keepAlive: true, ca });
  scope.defer('HTTPS connections', async () => agent.destroy());
  const host = new URL(access.vaultUrlTemplate.replace('{vault}', vaultName));
  const resource = `https://${host.host.slice(vaultName.length + 1)}`;
  const form = new URLSearchParams({
    ...{ grant_type: 'client_credentials', client_id: access.clientId },
    ...{ client_secret: cloud.administrator.secret, scope: `${resource}/.default` },
  });
  const signIn = new URL(`/${access.tenant}/oauth2/v2.0/token`, access.url);
  const { access_token: token } = JSON.parse(await send(agent, signIn, {}, form.toString()));
  const url = new URL(`/keys/k1?api-version=7.5`, host);
  return {
    http: async () => {
      const { key } = JSON.parse(await send(agent, url, { authorization: `Bearer ${token}` }));
      if (key?.kty !== 'RSA') throw new Error('the response is no key');
    },
    grpc: async () => void (await clients.keyVault.getKeyVersion({ name: keyVersion })),
  };
};

/** Sends a request to this machine, whatever the host name. @returns the body @throws Error unless the status is 200 */
const send = (agent: Agent, url: URL, headers: Readonly<Record<string, string>>, form?: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = {
      ...{ agent, host: '127.0.0.1', port: url.port, path: `${url.pathname}${url.search}`, servername: url.hostname },
      method: form === undefined ? 'GET' : 'POST',
      headers: {
        host: url.host,
        ...headers,
        ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
    };
    const sent = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`${url.href} answered ${response.statusCode}: ${body}`));
      });
    });
    sent.on('error', reject);
    sent.end(form);
  });
