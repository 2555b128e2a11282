import { routeTable } from '../../services/gateway/src/assemble.ts';
import { answersByReason, type Plane } from '../../services/gateway/src/errors/answers.ts';
import type { Route } from '../../services/gateway/src/http/route.ts';
import { lineOf } from './table.ts';

/** The page, from the root. */
export const gatewayPage = 'docs/not-emulated.md';

/** Only the routes are read: no handler runs, so no backends are needed. */
const routes: readonly Route[] = routeTable({ backends: {}, names: {}, key: {}, clock: {} } as never);

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [lineOf(head), lineOf(head.map(() => '---')), ...rows.map(lineOf)].join('\n');

const requestOf = ({ method, host, path }: Route): string =>
  `\`${method} ${host === 'vault' ? path.replace('/:vault', 'https://<vault>…') : path}\``;

const served = (host: Route['host']): string =>
  tableOf(
    ['Request', 'Does'],
    routes
      .filter((route) => route.host === host && route.refusedBecause === undefined)
      .map((route) => [requestOf(route), route.does]),
  );

const refused = (): string =>
  tableOf(
    ['Request', 'Does', 'Why'],
    routes.flatMap((route) => (route.refusedBecause ? [[requestOf(route), route.does, route.refusedBecause]] : [])),
  );

const errors = (plane: Plane): string =>
  tableOf(
    ['Reason', 'Status', 'Code', 'Inner code'],
    Object.entries(answersByReason[plane]).map(([reason, { status, code, innerCode = '–' }]) => [
      `\`${reason}\``,
      String(status),
      `\`${code}\``,
      innerCode === '–' ? innerCode : `\`${innerCode}\``,
    ]),
  );

const count = (isRefused: boolean): number =>
  routes.filter((route) => (route.refusedBecause !== undefined) === isRefused).length;

/** The whole page. */
export const gatewayText = (): string => `# What the gateway serves

\`npm run rules\` writes this page from the route table of the gateway (\`services/gateway\`). It serves ${count(false)} requests and refuses ${count(true)} with the code \`NotSupported\`. Every other request gets 404 with the code \`InvalidResourceType\` or \`NotFound\`. [How to use the gateway](how-to/use-azure-clients.md).

A key has one or more versions, so requests with and without a version are two rows.

## Management, sign-in and directory

${served('gateway')}

## Vaults

${served('vault')}

## Refused

${refused()}

## Accepted and ignored

- Members of a body that the tables of the public cloud have and our services do not: for example \`virtualNetworkRules\`, \`enabledForDeployment\`, permissions on secrets and certificates.
- Kept and returned without an effect: tags, zones, \`vmSize\`, \`osProfile\` (never its secrets), \`networkProfile\`, \`imageReference\`, caching, performance tiers and limits of disks, network access policies.
- \`api-version\` must be a date, or 7.x for a vault. All versions behave the same.
- \`claims\` and \`client_info\` of a sign-in.

## Errors

The reason of a service decides status and code. The reason and its metadata are in \`error.details\`. A reason without a row gets the status of its gRPC code.

### Of a vault

${errors('vault')}

\`ACCESS_DENIED\` of a vault with roles has the inner code \`ForbiddenByRbac\`.

### Of management

${errors('management')}
`;
