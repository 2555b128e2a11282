import { type NatsUser, natsAuthorization } from '@interlock/local/nats-authorization.ts';

/** The variable of the NATS servers with the public key of a user. */
export const nkeyVariableOf = (user: NatsUser): string => `NKEY_${user.replaceAll('-', '_').toUpperCase()}`;

/** The permissions of users, as a ConfigMap for the servers: a file of the base. Overlays add the rest of the configuration. */
export const natsAuthorizationMap = (partitionCount: number): string =>
  [
    '# Written by `node deploy/kubernetes/setup/write-nats-authorization.ts`; a test compares.',
    'apiVersion: v1',
    'kind: ConfigMap',
    'metadata:',
    '  name: nats-config',
    'data:',
    '  authorization.conf: |',
    ...natsAuthorization({ partitionCount, keyOf: (user) => `$${nkeyVariableOf(user)}` })
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
    '',
  ].join('\n');
