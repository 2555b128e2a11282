import type { SeededRandom } from '@interlock/runtime';
import type { Value, ValueRecord } from './records.ts';

/** How many values of one kind are kept; the oldest are dropped first. */
const KEPT_MAX = 100;
/** How many records of one name are kept, each with other fields: reads of a disk do not displace the response with its access token. */
const RECORDS_OF_NAME_MAX = 20;
/** How many names have records. */
const NAMES_MAX = 2_000;

/** Which part of the known resources a request is about. */
export type Aim =
  /** Newer values, because older ones may be deleted. */
  | 'newer'
  /** Older values, for destructive requests: spared resources stay complete, so that other requests find what they need. */
  | 'older'
  /** Deleted names, for requests that concern deleted resources. */
  | 'deleted';

/** A text that a field of a request needs. */
export interface Wanted {
  readonly field: string;
  /** Comment of the field in the contract: "`vaults/{v}/keys/{k}`". */
  readonly comment: string;
  /** `interlock.disk.v1.DiskService/GetDisk`. */
  readonly path: string;
  readonly aim: Aim;
  /** Names that the request has so far: values in the same group or vault fit better. */
  readonly chosen: readonly string[];
  /** The record of the first of them. */
  readonly record: ValueRecord | undefined;
  /** Fields of the request: a name fits better if its records have these fields. */
  readonly fields: ReadonlySet<string>;
}

/** Fields of requests that use the value of a field with another name. */
const sameAs: Readonly<Record<string, string>> = {
  client_id: 'principal_id',
  client_secret: 'secret_text',
  wrapped_probe: 'wrapped_key',
  page_token: 'next_page_token',
};

/** A field name, and its ends without the first words: `source_key_version`, `key_version`, `version`. */
export const meaningsOf = (field: string): readonly string[] => {
  const words = (sameAs[field] ?? field).split('_');
  return words.map((_, n) => words.slice(n).join('_'));
};

/** The value of a record for a field, by the longest end of the field's name that the record has. */
export const valueIn = (record: ValueRecord | undefined, field: string): Value | undefined => {
  for (const meaning of record === undefined ? [] : meaningsOf(field)) {
    const held = record?.find((one) => one.field === meaning);
    if (held !== undefined) return held.value;
  }
  return undefined;
};

/** `disk_encryption_set`, `diskEncryptionSets` and `DiskEncryptionSet` are one kind. */
const kindOf = (text: string): string => text.replaceAll('_', '').toLowerCase().replace(/s$/, '');

/** Prefixes of resource names. A state such as "PowerState/running" is not a name. */
const ROOTS =
  /^(subscriptions|tenants|vaults|principals|roles|roleAssignments|signingKeys|consumers|replicas|parkedFacts|leases|diskHosts)$/;

/** The kinds of resource in a name: `vaults/v/keys/k` is a key. Empty for a text that is not a name. */
const resourceKind = (value: string): string | undefined => {
  const segments = value.split('/');
  if (segments.length < 2 || segments.length % 2 !== 0 || !ROOTS.test(segments[0] ?? '')) return undefined;
  const kind = kindOf(segments.at(-2) ?? '');
  if (kind === 'version') return 'keyversion';
  // As the scope of a role a vault is below its resource group; everywhere else its name starts with it.
  return kind === 'vault' && segments.length > 2 ? 'vaultscope' : kind;
};

/** The kinds of resources whose names a text describes. */
const kindsDescribed = (text: string): readonly string[] =>
  [...text.matchAll(/[a-zA-Z]+\/\{[^ ,;:`]*\}/g)].flatMap(([pattern]) => {
    return resourceKind(pattern.replaceAll(/\{[^}]*\}/g, 'x')) ?? [];
  });

/** The resource group or the vault that a name is in. */
const placeOf = (name: string): string => {
  const segments = name.split('/');
  return segments.slice(0, segments[0] === 'subscriptions' ? 4 : 2).join('/');
};

/** Newer values are chosen more often, unless older ones are requested. */
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

/** Removes the oldest entries. */
const limit = (map: Map<string, unknown>, max: number): void => {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
};

/** How many of these fields a record has. */
const shared = (record: ValueRecord, fields: ReadonlySet<string>): number =>
  new Set(record.map(({ field }) => field).filter((field) => fields.has(field))).size;

/**
 * Texts and bytes from responses: names of resources, etags, page tokens, wrapped keys. The fuzzer puts them into requests, so that
 * requests pass the first checks.
 */
export class KnownValues {
  readonly #byField = valueLists<string>(KEPT_MAX);
  readonly #byKind = valueLists<string>(KEPT_MAX);
  readonly #deletedByKind = valueLists<string>(KEPT_MAX);
  readonly #bytesByField = valueLists<Uint8Array>(KEPT_MAX);
  /** Name → fields of a record → the newest record with these fields. */
  readonly #recordsByName = new Map<string, Map<string, ValueRecord>>();
  #spared: ReadonlySet<string> = new Set();
  /** Places that were known before the spared ones. */
  #older: ReadonlySet<string> = new Set();
  /** Method and field → the kind of resource that the field accepts. */
  readonly #kindsWanted = new Map<string, string>();

  /** Adds a text under its field and under the kind of resource it names. */
  addText(field: string, value: string): void {
    // Messages in outcomes of batches, and the actions of roles, fit nowhere.
    if ((/\s/.test(value) && field !== 'pem') || /action|permission/.test(field)) return;
    this.#byField.add(kindOf(field), value);
    const kind = resourceKind(value);
    if (kind !== undefined) this.#byKind.add(kind, value);
  }

  /** Adds values that belong together. */
  addRecord(record: ValueRecord): void {
    for (const { field, value } of record) {
      if (value instanceof Uint8Array) this.#bytesByField.add(field, value);
      if (typeof value !== 'string') continue;
      this.addText(field, value);
      if (resourceKind(value) === undefined) continue;
      const records = this.#recordsByName.get(value) ?? new Map<string, ValueRecord>();
      this.#recordsByName.set(value, records);
      const shape = [...new Set(record.map((one) => one.field))].join();
      records.delete(shape);
      records.set(shape, record);
      limit(records, RECORDS_OF_NAME_MAX);
    }
    limit(this.#recordsByName, NAMES_MAX);
  }

  /** Learns from a refusal what a field of that method accepts: "name must look like vaults/{vault}/keys/{key}, …". */
  learnPattern(path: string, details: string): void {
    const [, field, pattern] = /(\w+)(?:\[\d+\])? must look like (\S+),/.exec(details) ?? [];
    const kind = pattern === undefined ? undefined : resourceKind(pattern.replaceAll(/[{}]/g, ''));
    if (field !== undefined && kind !== undefined) this.#kindsWanted.set(`${path} ${field}`, kind);
  }

  /** Removes a name and everything below it. The name counts as deleted until it is purged or recovered. */
  deleted(name: string): void {
    this.#forget((value) => value === name || value.startsWith(`${name}/`));
    const kind = resourceKind(name);
    if (kind !== undefined) this.#deletedByKind.add(kind, name);
  }

  /** Requests that use older values do not use these places (resource groups, vaults) and later ones. */
  spare(names: readonly string[]): void {
    this.#spared = new Set(names.map(placeOf));
    const all = this.#byKind.keys().flatMap((kind) => this.#byKind.of(kind).map(placeOf));
    this.#older = new Set(all.filter((place) => !this.#spared.has(place)));
  }

  /** Removes the names that a service did not find, until a response contains them again. */
  notFound(details: string): void {
    this.#forget((value) => value.includes('/') && details.includes(value));
  }

  /** The name was purged or recovered. */
  notDeleted(name: string): void {
    this.#deletedByKind.removeAll((value) => value === name);
  }

  /** A known text that fits the field of the request; undefined if none is known. */
  text(wanted: Wanted, random: SeededRandom): string | undefined {
    const kind = this.#kindFor(wanted, random);
    if (kind !== undefined) {
      const name = this.#nameOf(kind, wanted, random);
      if (name !== undefined) return wanted.field === 'client_id' ? name.split('/').at(-1) : name;
    }
    const { field, record, aim } = wanted;
    const alongside = valueIn(record, field);
    if (typeof alongside === 'string' && random.chance(0.85)) return alongside;
    const own = meaningsOf(field).map(kindOf).find(this.#byField.has);
    const isGeneral = ['name', 'parent', 'scope', 'resource'].includes(kindOf(field));
    if (own !== undefined && !isGeneral) return pickFrom(this.#byField.of(own), aim, random);
    // No value fits a field that no response has.
    if (!isGeneral && this.#kindFor(wanted, random) === undefined) return undefined;
    const kinds = this.#byKind.keys();
    return kinds.length === 0 ? undefined : pickFrom(this.#byKind.of(random.pick(kinds)), aim, random);
  }

  /** Among the records with this text (and `other`), the one with the most of these fields. */
  recordWith(text: string, fields: ReadonlySet<string>, other?: ValueRecord): ValueRecord | undefined {
    const size = (record: ValueRecord | undefined): number => (record === undefined ? -1 : shared(record, fields));
    const best = [...(this.#recordsByName.get(text)?.values() ?? [])].reduce<ValueRecord | undefined>(
      (most, record) => (size(record) >= size(most) ? record : most),
      undefined,
    );
    return size(best) > size(other) ? best : other;
  }

  /** A known text of exactly this field. */
  exact(field: string, random: SeededRandom): string | undefined {
    return pickFrom(this.#byField.of(kindOf(field)), 'newer', random);
  }

  bytes(field: string, random: SeededRandom): Uint8Array | undefined {
    const own = meaningsOf(field).find(this.#bytesByField.has);
    const key = own !== undefined && random.chance(0.8) ? own : this.#bytesByField.keys()[0];
    return key === undefined ? undefined : pickFrom(this.#bytesByField.of(key), 'newer', random);
  }

  /** The kind of resource that a field accepts, by the contract, a refusal, or the names of the field and the method. */
  #kindFor({ field, comment, path }: Wanted, random: SeededRandom): string | undefined {
    const described = kindsDescribed(comment);
    if (described.length > 0 && random.chance(0.95)) return random.pick(described);
    const learned = this.#kindsWanted.get(`${path} ${field}`);
    if (learned !== undefined && random.chance(0.95)) return learned;
    const own = meaningsOf(field).map(kindOf).find(this.#byKind.has);
    if (own !== undefined) return own;
    const method = path.slice(path.indexOf('/') + 1).toLowerCase();
    // The longest kind in the method's name: RotateKeyVersion is about a key version, not a key.
    const named = this.#byKind
      .keys()
      .filter((kind) => method.includes(kind))
      .sort((one, other) => other.length - one.length);
    if (kindOf(field) !== 'name' || named[0] === undefined || !random.chance(0.8)) return undefined;
    return random.chance(0.8) ? named[0] : random.pick(named);
  }

  /** Among a few names, the one whose records have the most fields of the request. */
  #bestOf(names: readonly string[], { aim, fields }: Wanted, random: SeededRandom): string | undefined {
    const few = Array.from({ length: random.chance(0.6) ? 4 : 1 }, () => pickFrom(names, aim, random));
    const value = (name: string | undefined): number => shared((name && this.recordWith(name, fields)) || [], fields);
    return few.reduce((best, name) => (value(name) > value(best) ? name : best));
  }

  #nameOf(kind: string, wanted: Wanted, random: SeededRandom): string | undefined {
    const { aim, chosen, record } = wanted;
    const isDeleted = aim === 'deleted' && random.chance(0.85);
    const deleted = isDeleted ? pickFrom(this.#deletedByKind.of(kind), 'older', random) : undefined;
    if (deleted) return deleted;
    const alongside = (record ?? []).flatMap(({ value }) =>
      typeof value === 'string' && resourceKind(value) === kind && !chosen.includes(value) ? [value] : [],
    );
    if (alongside.length > 0 && random.chance(0.75)) return random.pick(alongside);
    const all = this.#byKind.of(kind).filter((name) => aim !== 'older' || this.#older.has(placeOf(name)));
    // Spared places are complete, so a request without a name yet often uses one.
    const places = chosen.length > 0 ? new Set(chosen.map(placeOf)) : this.#spared;
    const near = all.filter((name) => places.has(placeOf(name)));
    return this.#bestOf(near.length > 0 && random.chance(chosen.length > 0 ? 0.85 : 0.4) ? near : all, wanted, random);
  }

  #forget(isGone: (value: string) => boolean): void {
    this.#byKind.removeAll(isGone);
    this.#byField.removeAll(isGone);
  }
}
