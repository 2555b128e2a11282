import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { type GatewayAccess, startGateway } from '@interlock/local/gateway.ts';
import type { Scope } from '@interlock/runtime';
import { makeWorld } from '../cloud/world.ts';
import { type Bench, type BenchCloud, forEachSize, openCloud } from './bench.ts';
import { cpuDetails, cpuTimes } from './fleet/processes.ts';
import { inFlight, measurement, percentile, rounded, timed } from './measure.ts';

const rounds = 5;
/** Calls of a sample, for each that is in flight. */
const callsEach = { one: 300, more: 30 } as const;

/**
 * GET of a key through the gateway, `size` in flight, by keep-alive HTTPS. Floor, alternately: the corresponding gRPC call, by the same
 * client on the same cores. `addedMs`: what the gateway adds to the median of one call.
 */
export const gateway: Bench = async (options, scope) => {
  const { smoke } = options;
  const opened = await openCloud(options, scope);
  const processes = new Map<number, string>();
  const access = await startGateway({
    ...{ cloud: opened.cloud, data: opened.data, env: process.env },
    ...{ name: opened.name, temporary: true, within: scope },
    onStart: ({ pid }) => void processes.set(pid, 'gateway'),
  });
  const calls = await openCalls(opened, access, scope);
  return forEachSize(options, { usual: [1, 32], smoke: 1 }, scope, async (size) => {
    const count = smoke ? 3 : size * (size === 1 ? callsEach.one : callsEach.more);
    const rates = { http: [] as number[], grpc: [] as number[] };
    const latencies = { http: [] as number[], grpc: [] as number[] };
    const cpu: Record<'http' | 'grpc', Readonly<Record<string, number>>> = { http: {}, grpc: {} };
    for (let round = 0; round <= (smoke ? 0 : rounds); round++) {
      for (const way of ['http', 'grpc'] as const) {
        const ofRound: number[] = [];
        const before = cpuTimes(opened.cloud, processes);
        const ms = await timed(() => inFlight(size, count, async () => void ofRound.push(await timed(calls[way]))));
        cpu[way] = cpuDetails(before, cpuTimes(opened.cloud, processes), { count, tookMs: ms });
        // The first round warms up both.
        if (round === 0 && !smoke) continue;
        rates[way].push((count * 1_000) / ms);
        latencies[way].push(...ofRound);
      }
    }
    const [p50Ms, floorP50Ms] = [percentile(latencies.http, 0.5), percentile(latencies.grpc, 0.5)];
    const details = {
      p50Ms: rounded(p50Ms),
      floorP50Ms: rounded(floorP50Ms),
      addedMs: rounded(p50Ms - floorP50Ms),
      p99Ms: rounded(percentile(latencies.http, 0.99)),
      ...cpu.http,
      ...Object.fromEntries(Object.entries(cpu.grpc).map(([name, us]) => [`floor:${name}`, us])),
    };
    return [measurement({ bench: 'gateway', size, unit: 'requests/s' }, rates.http, rates.grpc, details)];
  });
};

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
