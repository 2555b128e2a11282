import { durableOf, streamNameIn, streamOf, subjectNameIn, subjectOf } from '@interlock/messaging';
import { type ServiceName, serviceNames } from './services.ts';

/** The services whose facts each service consumes, with one durable consumer on each of their partitions. */
export const consumes: Readonly<Record<ServiceName, readonly ServiceName[]>> = {
  identity: ['key-vault'],
  'key-vault': ['identity'],
  'disk-encryption-set': ['key-vault', 'identity'],
  disk: ['disk-encryption-set'],
  compute: ['disk-encryption-set', 'disk'],
};

/**
 * The services whose facts every process of a service also receives, without a consumer: a disk host ends the use of a lost key in
 * its own memory.
 */
export const tails: Partial<Readonly<Record<ServiceName, readonly ServiceName[]>>> = { disk: ['disk-encryption-set'] };

/** The users of the NATS servers: every service, and the operator, who creates streams. */
export type NatsUser = ServiceName | 'operator';

export const natsUsers: readonly NatsUser[] = ['operator', ...serviceNames];

/** What the permissions depend on. */
export interface NatsAuthorization {
  /** `PARTITION_COUNT` of every service. */
  readonly partitionCount: number;
  /** `NATS_NAMESPACE` of every service; default: none. */
  readonly namespace?: string | undefined;
  /** Public key of a user, or a variable that holds it. */
  readonly keyOf: (user: NatsUser) => string;
  /** Whether the operator may do everything, as the owner of a local cloud may. By default it may create and change streams. */
  readonly isOperatorUnlimited?: boolean;
}

/**
 * What each user may do on the NATS servers, in the format of their configuration. Everything else is refused.
 *
 * - A service publishes its own facts, reads its own stream, and consumes the facts of other services through its own consumers.
 * - A process of disk also subscribes to the facts of disk encryption sets (`tails`). It receives what is published meanwhile, and the server stores nothing for it.
 * - A service neither creates nor changes a stream. With `republish` it could forge facts of another service, with `sources` it could
 *   read streams that it does not consume.
 * - A consumer is created under its full name with its one subject (`CONSUMER.CREATE.<stream>.<consumer>.<subject>`), which the server
 *   compares with the request. The older calls (`CONSUMER.CREATE.<stream>`, `CONSUMER.DURABLE.CREATE`) carry no subject, so they are denied.
 * - The operator creates and changes the five streams.
 */
export const natsAuthorization = (wanted: NatsAuthorization): string => {
  const users = natsUsers.flatMap((user) => [
    '    {',
    `      nkey: ${wanted.keyOf(user)}`,
    ...(user === 'operator' && wanted.isOperatorUnlimited ? [] : permissions(user, wanted)),
    '    }',
  ]);
  return ['authorization {', '  users = [', ...users, '  ]', '}', ''].join('\n');
};

const permissions = (user: NatsUser, wanted: NatsAuthorization): readonly string[] => [
  '      permissions {',
  '        publish: [',
  ...(user === 'operator' ? operatorPublishes(wanted) : servicePublishes(user, wanted)).map(
    (subject) => `          "${subject}"`,
  ),
  '        ]',
  '        subscribe: [',
  ...subscribes(user, wanted).map((subject) => `          "${subject}"`),
  '        ]',
  '      }',
];

/** A wildcard would also permit wider wildcards: for the server, `a.>` matches `a.*`. */
const subscribes = (user: NatsUser, { namespace, partitionCount }: NatsAuthorization): readonly string[] => [
  `_INBOX_${user}.>`,
  ...(user === 'operator' ? [] : (tails[user] ?? [])).flatMap((source) =>
    Array.from({ length: partitionCount }, (_, partition) => subjectNameIn(namespace, subjectOf(source, partition))),
  ),
];

const operatorPublishes = ({ namespace }: NatsAuthorization): readonly string[] =>
  serviceNames.flatMap((service) =>
    ['CREATE', 'UPDATE', 'INFO'].map((call) => `$JS.API.STREAM.${call}.${streamNameIn(namespace, streamOf(service))}`),
  );

const servicePublishes = (
  service: ServiceName,
  { namespace, partitionCount }: NatsAuthorization,
): readonly string[] => {
  const partitions = Array.from({ length: partitionCount }, (_, partition) => partition);
  const subject = (source: ServiceName, partition: number) => subjectNameIn(namespace, subjectOf(source, partition));
  const stream = streamNameIn(namespace, streamOf(service));
  const own = [
    ...partitions.map((partition) => subject(service, partition)),
    ...['INFO', 'MSG.GET'].map((call) => `$JS.API.STREAM.${call}.${stream}`),
  ];
  const others = consumes[service].flatMap((source) =>
    partitions.flatMap((partition) => {
      const consumer = `${streamNameIn(namespace, streamOf(source))}.${durableOf(service, source, partition)}`;
      return [
        `$JS.API.CONSUMER.CREATE.${consumer}.${subject(source, partition)}`,
        `$JS.API.CONSUMER.INFO.${consumer}`,
        `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
        `$JS.ACK.${consumer}.>`,
      ];
    }),
  );
  return [...own, ...others];
};
