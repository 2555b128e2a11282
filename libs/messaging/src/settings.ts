import { int, optional, renewedFile, secretFile, text, urls } from '@interlock/runtime';
import { STREAM_AGE_MAX_DEFAULT_MS, STREAM_BYTES_MAX_DEFAULT } from './streams.ts';

/** Settings of the NATS connection, for services and operators, and of the streams. */
export const natsSpec = {
  natsUrl: urls('NATS servers with JetStream'),
  natsCaFile: optional(
    renewedFile('PEM file with the authorities of the NATS servers; turns TLS on (handshake_first)'),
  ),
  natsSeedFile: optional(secretFile('File with the nkey seed of this NATS user')),
  natsNamespace: optional(text('Prefix of every stream and subject: separates systems on one NATS server')),
  natsStreamReplicas: int('Copies of each stream in a NATS cluster; services report fewer', {
    min: 1,
    max: 5,
    default: 1,
  }),
} as const;

/** Settings of the streams that an operator creates. */
export const streamsSpec = {
  natsStreamBytesMax: int('Disk space that the NATS server reserves for each stream', {
    min: 4 * 1024 ** 2,
    default: STREAM_BYTES_MAX_DEFAULT,
  }),
  natsStreamAgeMaxMs: int("How long the NATS server keeps facts; the services' stores keep them for ever", {
    min: 60_000,
    default: STREAM_AGE_MAX_DEFAULT_MS,
  }),
} as const;
