import type { SeededRandom } from '@interlock/runtime';
import type { Value, ValueRecord } from './records.ts';

/** Values kept of one kind; the oldest go first. */
const KEPT_MAX = 100;
/** Records kept of one name, each with other fields: reads of a disk do not displace the answer with its access token. */
const RECORDS_OF_NAME_MAX = 20;
/** Names of which records are kept. */
const NAMES_MAX = 2_000;

/** Which part of the known resources a request is about. */
export type Aim =
  /** The newer ones: older ones may be deleted. */
  | 'newer'
  /** For requests that take something away: what is spared stays whole, so that other requests find what they need. */
  | 'older'
  /** For requests about what was deleted. */
  | 'deleted';

/** A text that a field of a request asks for. */
export interface Wanted {
  readonly field: string;
  /** What the contract says of the field: "`vaults/{v}/keys/{k}`". */
  readonly comment: string;
  /** `interlock.disk.v1.DiskService/GetDisk`. */
  readonly path: string;
  readonly aim: Aim;
  /** Names that the request has so far: what is in the same group or vault fits better. */
  readonly chosen: readonly string[];
  /** What belongs to the first of them. */
  readonly record: ValueRecord | undefined;
  /** Fields of the request: of names, those are better of which such fields are known. */
  readonly fields: ReadonlySet<string>;
}

/**
 * Texts and bytes that the cloud knows: names of resources, etags, page tokens, wrapped keys. The fuzzer puts them into requests,
 * so that requests pass the first checks. It fills as the cloud answers.
 */
export interface KnownValues {
  /** Adds a text under the field it was found in, and under the kind of resource it names. */
  addText(field: string, value: string): void;
  /** Adds values that belong together. */
  addRecord(record: ValueRecord): void;
  /** Learns from a refusal what a field of that method takes: "name must look like vaults/{vault}/keys/{key}, not …". */
  learnPattern(path: string, details: string): void;
  /** Takes a name, and what is below it, from the known values; it is known as deleted until it is purged or recovered. */
  deleted(name: string): void;
  /** Requests that aim at older resources leave these places (resource groups, vaults) alone, and all that appear later. */
  spare(names: readonly string[]): void;
  /** Takes names that a service did not find from the known values, until an answer names them again. */
  notFound(details: string): void;
  /** The name is neither deleted nor recoverable any more, or it was recovered. */
  notDeleted(name: string): void;
  /** A known text that fits the field of the request; undefined where none is known. */
  text(wanted: Wanted, random: SeededRandom): string | undefined;
  /** Of the records that have this text, and another one, the one with the most of these fields. */
  recordWith(text: string, fields: ReadonlySet<string>, other?: ValueRecord): ValueRecord | undefined;
  /** A known text of exactly this field. */
  exact(field: string, random: SeededRandom): string | undefined;
  bytes(field: string, random: SeededRandom): Uint8Array | undefined;
}

/** Fields of requests that take the value of a field of another name. */
const sameAs: Readonly<Record<string, string>> = {
  client_id: 'principal_id',
  client_secret: 'secret_text',
  wrapped_probe: 'wrapped_key',
  page_token: 'next_page_token',
};

/** A field, and what remains of its name without its first words: `source_key_version`, `key_version`, `version`. */
export const meaningsOf = (field: string): readonly string[] => {
  const words = (sameAs[field] ?? field).split('_');
  return words.map((_, n) => words.slice(n).join('_'));
};

/** The value of a record that a field takes, by the longest end of the field's name that the record has. */
export const valueIn = (record: ValueRecord | undefined, field: string): Value | undefined => {
  for (const meaning of record === undefined ? [] : meaningsOf(field)) {
    const held = record?.find((one) => one.field === meaning);
    if (held !== undefined) return held.value;
  }
  return undefined;
};

/** `disk_encryption_set`, `diskEncryptionSets` and `DiskEncryptionSet` are one kind. */
const kindOf = (text: string): string => text.replaceAll('_', '').toLowerCase().replace(/s$/, '');

/** How names of resources begin; a state such as "PowerState/running" names none. */
const ROOTS =
  /^(subscriptions|tenants|vaults|principals|roles|roleAssignments|signingKeys|consumers|replicas|parkedFacts|leases)$/;

/** The kinds of resource a name has: `vaults/v/keys/k` is a key. Empty for a text that names nothing. */
const resourceKind = (value: string): string | undefined => {
  const segments = value.split('/');
  if (segments.length < 2 || segments.length % 2 !== 0 || !ROOTS.test(segments[0] ?? '')) return undefined;
  const kind = kindOf(segments.at(-2) ?? '');
  if (kind === 'version') return 'keyversion';
  // As the scope of a role a vault is below its resource group; everywhere else its name begins with it.
  return kind === 'vault' && segments.length > 2 ? 'vaultscope' : kind;
};

/** The kinds of resources whose names are described in a text. */
const kindsDescribed = (text: string): readonly string[] =>
  [...text.matchAll(/[a-zA-Z]+\/\{[^ ,;:`]*\}/g)].flatMap(([pattern]) => {
    return resourceKind(pattern.replaceAll(/\{[^}]*\}/g, 'x')) ?? [];
  });

/** The resource group or the vault that a name is in. */
const placeOf = (name: string): string => {
  const segments = name.split('/');
  return segments.slice(0, segments[0] === 'subscriptions' ? 4 : 2).join('/');
};

/** A newer value is chosen more often, unless older ones are meant. */
const pickFrom = <Item>(values: readonly Item[], aim: Aim, random: SeededRandom): Item | undefined => {
  const { length } = values;
  if (aim === 'older') return length === 0 ? undefined : random.pick(values);
  return values[length - 1 - Math.floor(length * random.fraction() ** 2)];
};

/** Values under a key, each once, the newest last. */
const valueLists = <Item>(max: number) => {
  const lists = new Map<string, Item[]>();
  return {
    of: (key: string): readonly Item[] => lists.get(key) ?? [],
    has: (key: string): boolean => (lists.get(key)?.length ?? 0) > 0,
    keys: (): readonly string[] => [...lists.keys()],
    add(key: string, item: Item): void {
      const list = lists.get(key) ?? [];
      lists.set(key, list);
      if (list.includes(item)) return;
      list.push(item);
      if (list.length > max) list.shift();
    },
    removeAll(isGone: (item: Item) => boolean): void {
      for (const [key, list] of lists) {
        lists.set(
          key,
          list.filter((item) => !isGone(item)),
        );
      }
    },
  };
};

/** Removes what was added first. */
const limit = (map: Map<string, unknown>, max: number): void => {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
};

/** How many of these fields a record has. */
const shared = (record: ValueRecord, fields: ReadonlySet<string>): number =>
  new Set(record.map(({ field }) => field).filter((field) => fields.has(field))).size;

/** Nothing is known yet. */
export const knownValues = (): KnownValues => {
  const byField = valueLists<string>(KEPT_MAX);
  const byKind = valueLists<string>(KEPT_MAX);
  const deletedByKind = valueLists<string>(KEPT_MAX);
  const bytesByField = valueLists<Uint8Array>(KEPT_MAX);
  /** Name → fields of a record → the newest record with these fields. */
  const recordsByName = new Map<string, Map<string, ValueRecord>>();
  let spared: ReadonlySet<string> = new Set();
  /** Places known before. */
  let older: ReadonlySet<string> = new Set();
  /** Method and field → the kind of resource it takes. */
  const kindsWanted = new Map<string, string>();

  const addText = (field: string, value: string): void => {
    // A message for people in an outcome of a batch, or what a role allows.
    if ((/\s/.test(value) && field !== 'pem') || /action|permission/.test(field)) return;
    byField.add(kindOf(field), value);
    const kind = resourceKind(value);
    if (kind !== undefined) byKind.add(kind, value);
  };

  /** The kind of resource that the field takes: as the contract or a refusal says, or the names of the field and the method. */
  const kindFor = ({ field, comment, path }: Wanted, random: SeededRandom): string | undefined => {
    const described = kindsDescribed(comment);
    if (described.length > 0 && random.chance(0.95)) return random.pick(described);
    const said = kindsWanted.get(`${path} ${field}`);
    if (said !== undefined && random.chance(0.95)) return said;
    const own = meaningsOf(field).map(kindOf).find(byKind.has);
    if (own !== undefined) return own;
    const method = path.slice(path.indexOf('/') + 1).toLowerCase();
    // The longest kind that the method speaks of: RotateKeyVersion is about a key version, not a key.
    const spoken = byKind
      .keys()
      .filter((kind) => method.includes(kind))
      .sort((one, other) => other.length - one.length);
    if (kindOf(field) === 'name' && spoken[0] !== undefined && random.chance(0.8)) {
      return random.chance(0.8) ? spoken[0] : random.pick(spoken);
    }
    return undefined;
  };

  const recordWith: KnownValues['recordWith'] = (text, fields, other) => {
    const size = (record: ValueRecord | undefined): number => (record === undefined ? -1 : shared(record, fields));
    const best = [...(recordsByName.get(text)?.values() ?? [])].reduce<ValueRecord | undefined>(
      (most, record) => (size(record) >= size(most) ? record : most),
      undefined,
    );
    return size(best) > size(other) ? best : other;
  };

  /** Of a few names the one of which most fields of the request are known. */
  const bestOf = (names: readonly string[], { aim, fields }: Wanted, random: SeededRandom): string | undefined => {
    const few = Array.from({ length: random.chance(0.6) ? 4 : 1 }, () => pickFrom(names, aim, random));
    const value = (name: string | undefined): number => shared((name && recordWith(name, fields)) || [], fields);
    return few.reduce((best, name) => (value(name) > value(best) ? name : best));
  };

  const nameOf = (kind: string, wanted: Wanted, random: SeededRandom): string | undefined => {
    const { aim, chosen, record } = wanted;
    const deleted = aim === 'deleted' && random.chance(0.85) ? pickFrom(deletedByKind.of(kind), 'older', random) : '';
    if (deleted) return deleted;
    const alongside = (record ?? []).flatMap(({ value }) =>
      typeof value === 'string' && resourceKind(value) === kind && !chosen.includes(value) ? [value] : [],
    );
    if (alongside.length > 0 && random.chance(0.75)) return random.pick(alongside);
    const all = byKind.of(kind).filter((name) => aim !== 'older' || older.has(placeOf(name)));
    // What is spared is whole. A request that has no name yet is often about that.
    const places = chosen.length > 0 ? new Set(chosen.map(placeOf)) : spared;
    const near = all.filter((name) => places.has(placeOf(name)));
    return bestOf(near.length > 0 && random.chance(chosen.length > 0 ? 0.85 : 0.4) ? near : all, wanted, random);
  };

  const forget = (isGone: (value: string) => boolean): void => {
    byKind.removeAll(isGone);
    byField.removeAll(isGone);
  };

  return {
    addText,
    addRecord(record) {
      for (const { field, value } of record) {
        if (value instanceof Uint8Array) bytesByField.add(field, value);
        if (typeof value !== 'string') continue;
        addText(field, value);
        if (resourceKind(value) === undefined) continue;
        const records = recordsByName.get(value) ?? new Map<string, ValueRecord>();
        recordsByName.set(value, records);
        const shape = [...new Set(record.map((one) => one.field))].join();
        records.delete(shape);
        records.set(shape, record);
        limit(records, RECORDS_OF_NAME_MAX);
      }
      limit(recordsByName, NAMES_MAX);
    },
    learnPattern(path, details) {
      const [, field, pattern] = /(\w+)(?:\[\d+\])? must look like (\S+),/.exec(details) ?? [];
      const kind = pattern === undefined ? undefined : resourceKind(pattern.replaceAll(/[{}]/g, ''));
      if (field !== undefined && kind !== undefined) kindsWanted.set(`${path} ${field}`, kind);
    },
    deleted(name) {
      forget((value) => value === name || value.startsWith(`${name}/`));
      const kind = resourceKind(name);
      if (kind !== undefined) deletedByKind.add(kind, name);
    },
    spare(names) {
      spared = new Set(names.map(placeOf));
      const all = byKind.keys().flatMap((kind) => byKind.of(kind).map(placeOf));
      older = new Set(all.filter((place) => !spared.has(place)));
    },
    notFound: (details) => forget((value) => value.includes('/') && details.includes(value)),
    notDeleted: (name) => deletedByKind.removeAll((value) => value === name),
    text(wanted, random) {
      const kind = kindFor(wanted, random);
      if (kind !== undefined) {
        const name = nameOf(kind, wanted, random);
        if (name !== undefined) return wanted.field === 'client_id' ? name.split('/').at(-1) : name;
      }
      const { field, record, aim } = wanted;
      const alongside = valueIn(record, field);
      if (typeof alongside === 'string' && random.chance(0.85)) return alongside;
      const own = meaningsOf(field).map(kindOf).find(byField.has);
      const isGeneral = ['name', 'parent', 'scope', 'resource'].includes(kindOf(field));
      if (own !== undefined && !isGeneral) return pickFrom(byField.of(own), aim, random);
      // Of a field that no answer has, nothing fits.
      if (!isGeneral && kindFor(wanted, random) === undefined) return undefined;
      const kinds = byKind.keys();
      return kinds.length === 0 ? undefined : pickFrom(byKind.of(random.pick(kinds)), aim, random);
    },
    recordWith,
    exact: (field, random) => pickFrom(byField.of(kindOf(field)), 'newer', random),
    bytes(field, random) {
      const own = meaningsOf(field).find(bytesByField.has);
      const key = own !== undefined && random.chance(0.8) ? own : bytesByField.keys()[0];
      return key === undefined ? undefined : pickFrom(bytesByField.of(key), 'newer', random);
    },
  };
};
