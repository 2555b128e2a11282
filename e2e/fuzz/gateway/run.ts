import { readFileSync } from 'node:fs';
import { ClientSecretCredential } from '@azure/identity';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGateway } from '@interlock/local/gateway.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import type { Crash } from '@interlock/local/restartable.ts';
import type { Scope } from '@interlock/runtime';
import { residentMib } from '../../cloud/resident.ts';
import { fuzzGateway, type GatewayFindings } from './fuzz.ts';
import { fuzzTarget } from './target.ts';

/** Largest resident memory of the gateway, in MiB. */
export const residentMaxMib = 400;

/** Findings, and the resident memory of the gateway at the end of the run. */
export type GatewayRun = GatewayFindings & { readonly residentMib: number; readonly crashes: number };

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
  const findings = await fuzzGateway({ ...rest, ca, target });
  return { ...findings, crashes, residentMib: residentMib(pid) ?? 0 };
};
