import type { SeededRandom } from '@interlock/runtime';

/** Values kept of one kind; the oldest go first. */
const KEPT_MAX = 100;

/**
 * Texts and bytes that the cloud knows: names of resources, etags, page tokens, wrapped keys. The fuzzer puts them into requests,
 * so that requests pass the first checks. It fills as the cloud answers.
 */
export interface KnownValues {
  /** Adds a text under the field it was found in, and under the kind of resource it names. */
  addText(field: string, value: string): void;
  addBytes(value: Uint8Array): void;
  /** Learns from a refusal what a field of that method takes: "name must look like vaults/{vault}/keys/{key}, not …". */
  learnPattern(method: string, details: string): void;
  /** A known text that fits the field of the request, by its name and that of the method; undefined where none is known. */
  text(field: string, method: string, random: SeededRandom): string | undefined;
  /** A known text of exactly this field. */
  exact(field: string, random: SeededRandom): string | undefined;
  bytes(random: SeededRandom): Uint8Array | undefined;
}

/** `disk_encryption_set`, `diskEncryptionSets` and `DiskEncryptionSet` are one kind. */
const kindOf = (text: string): string => text.replaceAll('_', '').toLowerCase().replace(/s$/, '');

/** The kinds of resource a name has: `vaults/v/keys/k` is a key. Empty for a text that names nothing. */
const resourceKind = (value: string): string | undefined => {
  const segments = value.split('/');
  return segments.length >= 2 && segments.length % 2 === 0 ? kindOf(segments.at(-2) ?? '') : undefined;
};

/** Nothing is known yet. */
export const knownValues = (): KnownValues => {
  const byField = new Map<string, string[]>();
  const byKind = new Map<string, string[]>();
  const allBytes: Uint8Array[] = [];
  /** Method and field → the kind of resource it takes. */
  const wanted = new Map<string, string>();
  const add = <Value>(values: Value[], value: Value): void => {
    if (values.includes(value)) return;
    values.push(value);
    if (values.length > KEPT_MAX) values.shift();
  };
  const addTo = (map: Map<string, string[]>, key: string, value: string): void => {
    const values = map.get(key) ?? [];
    map.set(key, values);
    add(values, value);
  };
  /** Newer values are chosen more often: older resources may be deleted. */
  const pick = <Value>(values: readonly Value[], random: SeededRandom): Value | undefined =>
    values[values.length - 1 - Math.floor(values.length * random.fraction() ** 2)];
  return {
    addText(field, value) {
      // A message for people in an outcome of a batch, or what a role allows.
      if ((/\s/.test(value) && field !== 'pem') || /action|permission/.test(field)) return;
      addTo(byField, kindOf(field), value);
      const kind = resourceKind(value);
      if (kind !== undefined) addTo(byKind, kind, value);
    },
    addBytes: (value) => add(allBytes, value),
    learnPattern(method, details) {
      const [, field, pattern] = /(\w+) must look like (\S+),/.exec(details) ?? [];
      const kind = pattern === undefined ? undefined : resourceKind(pattern);
      if (field !== undefined && kind !== undefined) wanted.set(`${method} ${field}`, kind);
    },
    text(field, method, random) {
      const kindWanted = wanted.get(`${method} ${field}`);
      if (kindWanted !== undefined && random.chance(0.9)) {
        const found = pick(byKind.get(kindWanted) ?? [], random);
        if (found !== undefined) return found;
      }
      const own = byKind.get(kindOf(field)) ?? byField.get(kindOf(field));
      const isGeneral = ['name', 'parent', 'scope', 'resource'].includes(kindOf(field));
      if (own !== undefined && !isGeneral) return pick(own, random);
      // The longest kind that the method speaks of: RotateKeyVersion is about a key version, not a key.
      const spoken = [...byKind.keys()]
        .filter((kind) => method.toLowerCase().includes(kind) || method.toLowerCase().includes(`key${kind}`))
        .sort((one, other) => other.length - one.length);
      if (kindOf(field) === 'name' && spoken[0] !== undefined && random.chance(0.8)) {
        return pick(byKind.get(random.chance(0.8) ? spoken[0] : random.pick(spoken)) ?? [], random);
      }
      const kinds = [...byKind.keys()];
      return kinds.length === 0 ? undefined : pick(byKind.get(random.pick(kinds)) ?? [], random);
    },
    exact: (field, random) => pick(byField.get(kindOf(field)) ?? [], random),
    bytes: (random) => pick(allBytes, random),
  };
};
