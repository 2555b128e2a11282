import { type ServiceName, serviceNames } from '@interlock/local/services.ts';

/** Whose facts a service hears: a consumer each on every partition of theirs. */
export const hears: Readonly<Record<ServiceName, readonly ServiceName[]>> = {
  identity: ['key-vault'],
  'key-vault': ['identity'],
  'disk-encryption-set': ['key-vault', 'identity'],
  disk: ['disk-encryption-set'],
  compute: ['disk-encryption-set', 'disk'],
};

/** The variable of the NATS servers with the public key of a service. */
export const nkeyVariableOf = (service: ServiceName): string => `NKEY_${service.replaceAll('-', '_').toUpperCase()}`;

/**
 * What each service may do on the NATS servers, as their configuration says it: tell its own facts, look after the stream
 * that keeps these, hear those it hears through consumers of its own, and get answers. Nothing of anybody else's: a service
 * that was broken into cannot tell others that a key is back.
 * @param partitionCount `PARTITION_COUNT` of every service
 */
export const natsAuthorization = (partitionCount: number): string => {
  const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);
  const users = serviceNames.flatMap((service) => {
    const stream = `interlock_${service}`;
    const own = [
      `interlock.${service}.*`,
      ...['CREATE', 'UPDATE', 'INFO', 'MSG.GET'].map((call) => `$JS.API.STREAM.${call}.${stream}`),
    ];
    const others = hears[service].flatMap((source) =>
      partitions.flatMap((partition) => {
        const consumer = `interlock_${source}.${service}_${source}_${partition}`;
        return [
          `$JS.API.CONSUMER.CREATE.${consumer}.interlock.${source}.${partition}`,
          `$JS.API.CONSUMER.INFO.${consumer}`,
          `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
          `$JS.ACK.${consumer}.>`,
        ];
      }),
    );
    return [
      '    {',
      `      nkey: $${nkeyVariableOf(service)}`,
      '      permissions {',
      '        publish: [',
      ...[...own, ...others].map((subject) => `          "${subject}"`),
      '        ]',
      `        subscribe: ["_INBOX_${service}.>"]`,
      '      }',
      '    }',
    ];
  });
  return ['authorization {', '  users = [', ...users, '  ]', '}', ''].join('\n');
};

/** The same as a patch of the servers' ConfigMap: a file of the production overlay. */
export const natsAuthorizationPatch = (partitionCount: number): string =>
  [
    '# Written by `node deploy/kubernetes/setup/write-nats-authorization.ts`; a test compares.',
    'apiVersion: v1',
    'kind: ConfigMap',
    'metadata:',
    '  name: nats-config',
    'data:',
    '  authorization.conf: |',
    ...natsAuthorization(partitionCount)
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
    '',
  ].join('\n');
