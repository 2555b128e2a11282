import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientSecretCredential } from '@azure/identity';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGateway } from '@interlock/local/gateway.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import type { Crash } from '@interlock/local/restartable.ts';
import type { Scope } from '@interlock/runtime';
import { descriptorCount } from '../../cloud/descriptors.ts';
import { residentMib } from '../../cloud/resident.ts';
import { RESIDENT_MAX_MIB } from '../memory.ts';
import { fuzzGateway, type GatewayFindings } from './fuzz.ts';
import { fuzzTarget } from './target.ts';

/** Longest time that another client may wait for the response to a simple request, in milliseconds. */
const neighbourMsMax = 2_000;
/** How many more descriptors the gateway may have at the end than at the start: its connections to services and database open on demand. */
const descriptorGrowthMax = 12;
/** How long the gateway may take to close the connections of the run, in milliseconds. */
const closeMs = 30_000;
/** Time between two looks at the process, in milliseconds. */
const lookMs = 500;

/** Findings, and the most resident memory and the descriptors of the gateway. */
export type GatewayRun = GatewayFindings & {
  readonly residentMib: number;
  readonly descriptors: { readonly before: number; readonly after: number };
  readonly crashes: number;
};

/** `npm run fuzz -- --gateway`: sends requests for the routes of the route table to the gateway of a cloud. */
export const runGatewayFuzz = async (options: {
  readonly cloud: LocalCloud;
  readonly data: DataFolder;
  readonly scope: Scope;
  readonly requests: number;
  readonly seconds: number;
  readonly seed: number;
  readonly only: string | undefined;
}): Promise<GatewayRun> => {
  const { cloud, data, scope, ...rest } = options;
  let crashes = 0;
  let pid = 0;
  const access = await startGateway({
    cloud,
    data,
    env: process.env,
    within: scope,
    onStart: (process) => {
      pid = process.pid;
    },
    onCrash: ({ message, restart }: Crash) => {
      crashes += 1;
      console.error(message);
      restart().catch((error: unknown) => console.error(error));
    },
  });
  const ca = readFileSync(access.authorityFile, 'utf8');
  const { secret } = cloud.administrator;
  const credential = new ClientSecretCredential(access.tenant, access.clientId, secret, {
    authorityHost: access.url,
    disableInstanceDiscovery: true,
    tlsOptions: { ca },
  });
  const vaultSuffix = access.vaultUrlTemplate.replace('https://{vault}.', '');
  const target = await fuzzTarget({ ...access, vaultSuffix }, credential);
  const before = descriptorCount(pid) ?? 0;
  let mostMib = 0;
  const looking = setInterval(() => {
    mostMib = Math.max(mostMib, residentMib(pid) ?? 0);
  }, lookMs);
  const findings = await fuzzGateway({ ...rest, ca, target, neighbourMsMax });
  clearInterval(looking);
  let after = descriptorCount(pid) ?? 0;
  for (let waitedMs = 0; after > before + descriptorGrowthMax && waitedMs < closeMs; waitedMs += lookMs) {
    await sleep(lookMs);
    after = descriptorCount(pid) ?? 0;
  }
  const problems = [
    ...findings.problems,
    ...(mostMib > RESIDENT_MAX_MIB
      ? [`the gateway had ${mostMib} MiB in memory; allowed are ${RESIDENT_MAX_MIB}`]
      : []),
    ...(after > before + descriptorGrowthMax ? [`the gateway has ${after} descriptors; it had ${before}`] : []),
  ];
  return { ...findings, problems, crashes, residentMib: mostMib, descriptors: { before, after } };
};
