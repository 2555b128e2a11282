import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Administrator } from '@interlock/local/bootstrap-identities.ts';
import { copiedFrom } from '@interlock/local/data-folder.ts';
import type { GatewayAccess } from '@interlock/local/gateway.ts';
import { readUserFile } from '@interlock/runtime';
import { NoCloud } from '../problems.ts';

/**
 * Variables with which scripts use the gateway of a local cloud.
 * @param data folder of its launcher
 * @throws NoCloud if no gateway runs there
 */
export function azureEnvironment(data: string | undefined): Readonly<Record<string, string>> {
  const file = data === undefined ? undefined : join(data, 'gateway.json');
  if (data === undefined || file === undefined || !existsSync(file) || copiedFrom(data) !== undefined) {
    throw new NoCloud(`No gateway runs on ${data ?? 'this machine'}. Start one: npm run up -- --azure`);
  }
  const read = <Content>(path: string): Content => JSON.parse(readUserFile(path).toString('utf8'));
  const access = read<GatewayAccess>(file);
  const { secret } = read<Administrator>(join(data, 'administrator.json'));
  return {
    GATEWAY_URL: access.url,
    VAULT_URL_TEMPLATE: access.vaultUrlTemplate,
    TENANT: access.tenant,
    SUBSCRIPTION: access.subscription,
    CLIENT_ID: access.clientId,
    CLIENT_SECRET: secret,
    CA_FILE: access.authorityFile,
    IMDS_URL: access.loopbackUrl,
    IMDS_CLIENT_ID: access.loopbackClientId,
  };
}

/** Lines for a POSIX shell. */
export const exportLines = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'`)
    .join('\n');
