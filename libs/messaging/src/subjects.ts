/** Partitions of a source unless it is configured otherwise. Consumers count with the same number as their source. */
export const DEFAULT_PARTITION_COUNT = 4;

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** FNV-1a, 32 bits, over the UTF-8 bytes of the text. Stable for ever: it decides where facts of a stream are found. */
export const fnv1a32 = (text: string): number => {
  let hash = offsetBasis;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // A character of ASCII is its own only byte.
    if (code > 0x7f) return fnv1a32OfBytes(Buffer.from(text, 'utf8'));
    hash = Math.imul(hash ^ code, prime);
  }
  return hash >>> 0;
};

const fnv1a32OfBytes = (bytes: Uint8Array): number => {
  let hash = offsetBasis;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, prime);
  return hash >>> 0;
};

/** Partition of a stream, from 0 up to `partitionCount` less one: facts of one stream keep their order. */
export const partitionOf = (stream: string, partitionCount: number): number => fnv1a32(stream) % partitionCount;

/** Subject under which a service tells one partition, `interlock.<service>.<partition>`. */
export const subjectOf = (service: string, partition: number): string => `interlock.${service}.${partition}`;

/** Name of the one bus stream of a service, `interlock_<service>`. */
export const streamOf = (service: string): string => `interlock_${service}`;

/** Every subject of a service: what its stream keeps. */
export const subjectsOf = (service: string): string => `interlock.${service}.*`;

/** Service a subject belongs to. @throws Error for a text that is no subject of ours */
export const serviceOf = (subject: string): string => {
  const [root, service, partition] = subject.split('.');
  if (root !== 'interlock' || !service || !partition) throw new Error(`not a subject of a service: ${subject}`);
  return service;
};

/** Durable name of a consumer on one partition of a source. */
export const durableOf = (consumer: string, source: string, partition: number): string =>
  `${consumer}_${source}_${partition}`;
