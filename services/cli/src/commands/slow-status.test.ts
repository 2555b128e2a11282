import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { testKubectl } from '@interlock/kubernetes/test-kubectl.ts';
import { makeAuthority, pemOf } from '@interlock/local/certificates.ts';
import { services } from '../session/environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-slow-'));
const sockets = new Set<Socket>();
/** Accepts connections and never responds, as a frozen process does. */
const frozen = createServer((socket) => sockets.add(socket));
await new Promise<void>((resolve) => frozen.listen(0, '127.0.0.1', resolve));
const { port } = frozen.address() as AddressInfo;
const made: string[] = [folder];
after(() => {
  for (const socket of sockets) socket.destroy();
  frozen.close();
  for (const one of made) rmSync(one, { recursive: true, force: true });
});
const authorityFile = join(folder, 'ca.pem');
writeFileSync(authorityFile, (await pemOf(await makeAuthority(Date.now()))).certificate);
const secretFile = join(folder, 'secret');
writeFileSync(secretFile, 'secret');

/** Runs the command line as a process of its own, to its end. */
const run = async (args: readonly string[], env: NodeJS.ProcessEnv) => {
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, ...args], { env: { PATH: process.env.PATH, HOME: folder, ...env } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, text };
};
const addresses = Object.fromEntries(
  services.map((service) => [`INTERLOCK_${service.replaceAll('-', '_').toUpperCase()}_ADDRESS`, `localhost:${port}`]),
);

test('status ends although no service ever responds, and names each that is slow', async () => {
  const as = `00000000-0000-4000-8000-000000000001:${secretFile}`;
  const env = { ...addresses, INTERLOCK_DATA: folder, INTERLOCK_CA_FILE: authorityFile, INTERLOCK_AS: as };
  const { code, text } = await run(['status'], env);
  assert.notEqual(code, 0, text);
  // Every call needs a token of identity first.
  assert.match(text, /^identity +unreachable +.*, within 4000 ms$/m);
  for (const service of services.filter((one) => one !== 'identity'))
    assert.match(text, new RegExp(`^${service} +not called +identity issues no token.*, within 4000 ms$`, 'm'));
});

test('with tokens of its own, each service that never responds is named by its call', async () => {
  const tokens = join(folder, 'tokens');
  writeFileSync(tokens, JSON.stringify(Object.fromEntries(services.map((service) => [service, 'token']))));
  const as = `00000000-0000-4000-8000-000000000001:${tokens}`;
  const { text } = await run(['status'], {
    ...addresses,
    INTERLOCK_DATA: folder,
    INTERLOCK_CA_FILE: authorityFile,
    INTERLOCK_AS: as,
  });
  for (const service of services)
    assert.match(text, new RegExp(`^${service} +unreachable +.*MessagingService/.*, within 4000 ms$`, 'm'));
});

test('status ends although the cluster never responds, and names the step of kubectl that is slow', async () => {
  const { folder: path } = testKubectl([{ when: '', stays: true }]);
  made.push(path);
  const { code, text } = await run(['--kube-context', 'kind', 'status'], { PATH: `${path}:${process.env.PATH}` });
  assert.notEqual(code, 0);
  assert.match(text, /kubectl get (secret|pods) .* did not end within 2500 ms: the cluster is slow/);
});
