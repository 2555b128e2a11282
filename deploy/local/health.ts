import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { dataRoot, openDataFolder } from './data-folder.ts';
import type { GatewayAccess } from './gateway.ts';

/** `node deploy/local/health.ts`: ends with 0 if the gateway of the cloud serves; for the health check of a container. */
const file = openDataFolder(dataRoot(process.env)).path('gateway.json');
if (!existsSync(file)) {
  console.error('the gateway has not started yet');
  process.exit(1);
}
const { url, authorityFile }: GatewayAccess = JSON.parse(readFileSync(file, 'utf8'));
const sent = request(
  `${url}/metadata/endpoints?api-version=2022-09-01`,
  { ca: readFileSync(authorityFile), timeout: 10_000 },
  ({ statusCode }) => {
    console.log(`${url}: ${statusCode}`);
    process.exit(statusCode === 200 ? 0 : 1);
  },
);
sent.once('timeout', () => sent.destroy(new Error('no reply within 10 s')));
sent.once('error', (error) => {
  console.error(`${url}: ${error.message}`);
  process.exit(1);
});
sent.end();
