/** Default number of partitions of a source. Its consumers must use the same number. */
export const DEFAULT_PARTITION_COUNT = 4;

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** FNV-1a, 32 bits, over the UTF-8 bytes of the text. Never change it: it decides in which partition the facts of a stream are. */
export const fnv1a32 = (text: string): number => {
  let hash = offsetBasis;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    // An ASCII character is one byte.
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

/** Partition of a stream, from 0 to `partitionCount` - 1: facts of one stream keep their order. */
export const partitionOf = (stream: string, partitionCount: number): number => fnv1a32(stream) % partitionCount;

/** Subject of one partition of a service, `interlock.<service>.<partition>`. */
export const subjectOf = (service: string, partition: number): string => `interlock.${service}.${partition}`;

/** Name of the bus stream of a service, `interlock_<service>`. */
export const streamOf = (service: string): string => `interlock_${service}`;

/** Pattern of all subjects of a service, which its stream stores. */
export const subjectsOf = (service: string): string => `interlock.${service}.*`;

/** Service a subject belongs to. @throws Error for another text */
export const serviceOf = (subject: string): string => {
  const [root, service, partition] = subject.split('.');
  if (root !== 'interlock' || !service || !partition) throw new Error(`not a subject of a service: ${subject}`);
  return service;
};

/** Durable name of a consumer on one partition of a source. */
export const durableOf = (consumer: string, source: string, partition: number): string =>
  `${consumer}_${source}_${partition}`;
