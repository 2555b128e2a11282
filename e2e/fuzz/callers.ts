import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openIdentities } from '@interlock/local/bootstrap-identities.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { serviceNames } from '@interlock/local/services.ts';
import type { TokenSource } from '@interlock/rpc';
import { type SeededRandom, systemRandom } from '@interlock/runtime';
import type { Outside } from '../cloud/clients.ts';

/** The callers: mostly the administrator, a principal without any role, the services themselves, and callers without a token. */
export interface Callers {
  /** Picks a caller of this method: often one whose call of it succeeded before. */
  pick(path: string, random: SeededRandom): TokenSource | undefined;
  /** Remembers that this caller's call of the method succeeded. */
  succeeded(path: string, tokens: TokenSource | undefined): void;
  /** Learns from a refusal which services alone may call the method. */
  refused(path: string, details: string): void;
  /** Ids of the principals that must keep their rights, because otherwise the fuzzer could reach nothing. */
  readonly protectedIds: readonly string[];
}

/** Creates the unprivileged principal and opens the others. */
export const openCallers = async (outside: Outside, data: DataFolder): Promise<Callers> => {
  const { administrator, workloads } = openIdentities(data, systemRandom);
  const id = randomUUID();
  const { identity } = outside.administrator;
  const tenant = `tenants/${administrator.tenant.replace(/^tenants\//, '')}`;
  const { name } = await identity.createPrincipal({
    principalId: id,
    tenant,
    type: 'APPLICATION',
    displayName: 'without any role',
  });
  const { secretText } = await identity.addSecret({ principal: name, secretId: 'fuzz' });
  const services = serviceNames.map((service) => {
    const { principalId, secretFile } = workloads[service];
    return {
      id: principalId,
      service,
      tokens: outside.as({ id: principalId, secret: readFileSync(secretFile, 'utf8') }).tokens,
    };
  });
  const unprivileged = outside.as({ id, secret: secretText }).tokens;
  const successful = new Map<string, TokenSource | undefined>();
  return {
    succeeded: (path, tokens) => successful.set(path, tokens),
    refused(path, details) {
      const [, named] = /only these services may call this method: ([^;]+);/.exec(details) ?? [];
      const allowed = services.find(({ service }) => named?.split(', ').includes(service));
      if (allowed !== undefined && !successful.has(path)) successful.set(path, allowed.tokens);
    },
    pick(path, random) {
      if (successful.has(path) && random.chance(0.75)) return successful.get(path);
      const choice = random.fraction();
      if (choice < 0.75) return outside.administrator.tokens;
      if (choice < 0.82) return unprivileged;
      return choice < 0.96 ? random.pick(services).tokens : undefined;
    },
    protectedIds: [administrator.principalId, id, ...services.map((service) => service.id)],
  };
};
