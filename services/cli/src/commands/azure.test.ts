import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { NoCloud } from '../problems.ts';
import { azureEnvironment, exportLines } from './azure.ts';

const data = mkdtempSync(join(tmpdir(), 'interlock-azure-'));
after(() => rmSync(data, { recursive: true }));

test('azure env without a running gateway names the command that starts one', () => {
  assert.throws(
    () => azureEnvironment(data),
    (error) => error instanceof NoCloud && /npm run up -- --azure/.test(error.message),
  );
});

test('azure env prints the values of the running gateway, quoted for a shell', () => {
  const access = {
    url: 'https://localhost:8443',
    vaultUrlTemplate: 'https://{vault}.vault.interlock.localhost:8443',
    tenant: 't',
    subscription: 's',
    clientId: 'c',
    authorityFile: "/a folder/it's.pem",
    loopbackUrl: 'http://127.0.0.1:8442',
    loopbackClientId: 'l',
  };
  writeFileSync(join(data, 'gateway.json'), JSON.stringify(access));
  writeFileSync(join(data, 'administrator.json'), JSON.stringify({ secret: '$x' }));
  const script = `${exportLines(azureEnvironment(data))}\nprintf '%s\\n' "$GATEWAY_URL" "$VAULT_URL_TEMPLATE" "$TENANT" "$SUBSCRIPTION" "$CLIENT_ID" "$CLIENT_SECRET" "$CA_FILE" "$IMDS_URL" "$IMDS_CLIENT_ID"`;
  assert.deepEqual(execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trim().split('\n'), [
    access.url,
    access.vaultUrlTemplate,
    't',
    's',
    'c',
    '$x',
    access.authorityFile,
    access.loopbackUrl,
    'l',
  ]);
});
