import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Identities } from '@interlock/local/bootstrap-identities.ts';
import type { Workload } from '@interlock/rpc';
import type { Clients, Credentials } from '../cloud/clients.ts';
import { inTurns } from './in-turns.ts';
import type { Names } from './names.ts';
import type { PoliciesOf } from './place.ts';
import type { PrincipalWho, Who } from './who.ts';

/** All callers, created with the grants of their descriptions. Access policies are created with the vaults. */
export interface Callers {
  readonly policies: PoliciesOf;
  /** A bearer token that is good at a service; issued once. */
  token(who: Who, service: Workload): Promise<string>;
}

/** Requests in flight while callers are created. */
const width = 8;

/** Creates the principals, each with a secret and its roles. Equal descriptions share one. */
export const makeCallers = async (
  { anonymous, administrator }: { readonly anonymous: Clients; readonly administrator: Clients },
  identities: Identities,
  names: Names,
  all: readonly Who[],
): Promise<Callers> => {
  const { identity } = administrator;
  await identity.createTenant({ tenantId: names.otherTenant.replace('tenants/', ''), displayName: 'another tenant' });

  const make = async (who: PrincipalWho): Promise<Credentials> => {
    const id = randomUUID();
    const { name: principal } = await identity.createPrincipal({
      principalId: id,
      tenant: who.tenant === 'own' ? names.tenant : names.otherTenant,
      type: 'APPLICATION',
      displayName: 'caller',
    });
    const { secretText } = await identity.addSecret({ principal, secretId: 'only' });
    for (const { role, at } of who.roles) {
      await identity.createRoleAssignment({
        roleAssignmentId: randomUUID(),
        principal,
        role: `roles/${role}`,
        scope: at,
      });
    }
    return { id, secret: secretText };
  };
  const wanted = new Map(all.flatMap((who) => (who.kind === 'principal' ? [[JSON.stringify(who), who] as const] : [])));
  const made = new Map<string, Credentials>();
  await inTurns(width, [...wanted], async ([key, who]) => {
    made.set(key, await make(who));
  });

  const credentialsOf = (who: Who): Credentials => {
    if (who.kind === 'service') {
      const { principalId, secretFile } = identities.workloads[who.service];
      return { id: principalId, secret: readFileSync(secretFile, 'utf8') };
    }
    const found = made.get(JSON.stringify(who));
    if (!found) throw new Error(`${JSON.stringify(who)} has no token`);
    return found;
  };
  const tokens = new Map<string, Promise<string>>();
  return {
    policies: new Map([...wanted].map(([key, who]) => [`principals/${made.get(key)?.id}`, who.policies])),
    token(who, service) {
      const key = JSON.stringify([who, service]);
      const { id, secret } = credentialsOf(who);
      const audience = `interlock:${service}`;
      const token =
        tokens.get(key) ??
        anonymous.identity
          .issueToken({ clientId: id, clientSecret: secret, audience })
          .then(({ accessToken }) => accessToken);
      tokens.set(key, token);
      return token;
    },
  };
};
