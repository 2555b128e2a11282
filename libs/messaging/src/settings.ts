import { int, optional, renewedFile, secretFile, text, urls } from '@interlock/runtime';
import { STREAM_AGE_MAX_DEFAULT_MS, STREAM_BYTES_MAX_DEFAULT } from './streams.ts';

/** How NATS is reached, by services and by operators, and what a stream should be. */
export const natsSpec = {
  natsUrl: urls('NATS servers with JetStream'),
  natsCaFile: optional(
    renewedFile('PEM file with the authorities of the NATS servers; with it connections are TLS (handshake_first)'),
  ),
  natsSeedFile: optional(secretFile('File with the seed of the nkey the NATS servers know this user by')),
  natsNamespace: optional(text('Keeps several systems apart on one NATS server: put before every stream and subject')),
  natsStreamReplicas: int(
    'Copies of the stream of each service in a NATS cluster; a service reports when there are fewer',
    {
      min: 1,
      max: 5,
      default: 1,
    },
  ),
} as const;

/** What an operator gives to the streams it creates. */
export const streamsSpec = {
  natsStreamBytesMax: int('Disk space in bytes the NATS server reserves for the stream of each service', {
    min: 4 * 1024 ** 2,
    default: STREAM_BYTES_MAX_DEFAULT,
  }),
  natsStreamAgeMaxMs: int('How long the NATS server keeps a fact at most; the store of its service keeps it for ever', {
    min: 60_000,
    default: STREAM_AGE_MAX_DEFAULT_MS,
  }),
} as const;
