import type { Case, Row } from './row.ts';
import { ruleInWords } from './rule.ts';

/** The page, as a path from the root. */
export const authorizationPage = 'docs/authorization.md';

/** What the page says before its tables. */
const introduction = `# Who may call what

Written by \`node e2e/authorization/write-page.ts\` from \`e2e/authorization/table.ts\`; a test holds every RPC of a running cloud to it.

| Rule | Means |
| --- | --- |
| public | anybody, also without a token |
| workload: … | only these services |
| role: … | a role that allows the action at the scope or above it; inside a tenant only its own principals count |
| vault: … | that permission on the key, or on the vault where the request names no key: by access policy or by role, whichever the vault goes by |
| own: … | as it says |

A token that is missing, expired, or for another service is refused before any rule but public is looked at.

A token outlives its principal, but not its rights. Once a principal is deleted, or loses a role, every service refuses it after at most \`AUTHZ_TTL_MS\` (5 s): a service uses an answer of identity that long. This is also so for what every verified principal may call.
Direct access to a disk ends with the principal that began it, and with its \`compute/disks/beginAccess\`. A read or write is refused after at most \`AUTHZ_TTL_MS\`, and this refusal ends the access. An access that nobody uses ends after at most \`LEASE_TTL_MS\` and \`AUTHZ_TTL_MS\`. While identity does not respond, the last grant counts for \`UNREACHABLE_GRACE_MS\`; after that, reads and writes through direct access fail and may be repeated. Those of machines do not depend on identity.
`;

/** The page for a table. Messaging, which is the same on every service, is told once. */
export const pageOf = (table: readonly Row[]): string => {
  const apis = new Map<string, Map<string, readonly string[]>>();
  for (const { definition, rpc, method, cases } of table) {
    const lines = apis.get(definition.fullName) ?? new Map<string, readonly string[]>();
    lines.set(rpc, linesOf(definition.methods[method]?.name ?? method, cases));
    apis.set(definition.fullName, lines);
  }
  const sections = [...apis].map(([api, lines]) =>
    [`## ${api}`, '', '| RPC | Rule |', '| --- | --- |', ...[...lines.values()].flat(), ''].join('\n'),
  );
  return [introduction, ...sections].join('\n');
};

/** A line for each different thing the cases say. */
const linesOf = (method: string, cases: readonly Case<unknown>[]): readonly string[] => [
  ...new Set(
    cases.map(({ when, rule }) => `| ${when === undefined ? method : `${method}, ${when}`} | ${ruleInWords(rule)} |`),
  ),
];
