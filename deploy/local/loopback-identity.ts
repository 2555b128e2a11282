import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { Rejection } from '@interlock/event-store';
import { connect, openChannel, tokenSource } from '@interlock/rpc';
import { systemClock as clock, systemRandom as random, scopeTracer } from '@interlock/runtime';
import type { DataFolder } from './data-folder.ts';
import type { LocalCloud } from './local-cloud.ts';

/** The principal whose tokens the managed identity endpoint of a local gateway returns, and the file with its secret. */
export interface LoopbackIdentity {
  /** UUID. */
  readonly principalId: string;
  /** JSON with `principalId` and `secret` (0600), for `GATEWAY_IDENTITY_FILE`. */
  readonly file: string;
}

type Credentials = Pick<LocalCloud['administrator'], 'principalId' | 'secret'>;

/**
 * Opens an identity of its own for the endpoint: every process of this machine gets its tokens, so it has no role until an
 * administrator assigns one. The same at every start of a data folder, with the roles it got.
 * @throws Rejection of identity
 */
export const openLoopbackIdentity = async (cloud: LocalCloud, data: DataFolder): Promise<LoopbackIdentity> => {
  const file = data.path('loopback-identity.json');
  const channel = openChannel({
    address: cloud.addresses.identity,
    tls: { ca: readFileSync(cloud.authorityFile, 'utf8') },
  });
  try {
    const { isKnown, create } = identityClient(cloud, channel);
    const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Credentials) : undefined;
    // The databases may be others than those of the last start.
    if (known !== undefined && (await isKnown(known))) return { principalId: known.principalId, file };
    const created = await create();
    writeFileSync(`${file}.draft`, `${JSON.stringify(created, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.draft`, file);
    return { principalId: created.principalId, file };
  } finally {
    channel.close();
  }
};

const identityClient = ({ administrator }: LocalCloud, channel: ReturnType<typeof openChannel>) => {
  const audience = 'interlock:identity';
  const common = { channel, definition: IdentityServiceDefinition, audience, clock, random };
  const tracer = scopeTracer('@interlock/local');
  const anonymous = connect({ ...common, tracer, credentials: undefined });
  const issue = async ({ principalId: clientId, secret: clientSecret }: Credentials) => {
    const { accessToken, expireTime } = await anonymous.issueToken({ clientId, clientSecret, audience });
    return { token: accessToken, expireTime: expireTime?.getTime() ?? clock.now() };
  };
  const credentials = tokenSource({ clock, issue: () => issue(administrator) });
  const own = connect({ ...common, tracer, credentials });
  return {
    isKnown: async (identity: Credentials): Promise<boolean> => {
      try {
        await issue(identity);
        return true;
      } catch (error) {
        if (error instanceof Rejection && error.reason === 'INVALID_CLIENT') return false;
        throw error;
      }
    },
    create: async (): Promise<Credentials> => {
      const { tenant } = administrator;
      const principalId = random.uuid();
      const displayName = 'Managed identity endpoint of this machine';
      await own.createPrincipal({ principalId, tenant, type: 'APPLICATION', displayName });
      const { secretText } = await own.addSecret({ principal: `principals/${principalId}`, secretId: 'loopback' });
      return { principalId, secret: secretText };
    },
  };
};
