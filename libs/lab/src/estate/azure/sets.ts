import type { EstateKey, EstateSet, EstateVault } from '../estate-file.ts';
import { type AzureId, azureId, type KeyUrl, keyUrlOf, type TwinNames } from './ids.ts';
import { hasProperties, noteIgnored } from './ignored.ts';
import { type KeyFacts, orderedVersions, versionStates } from './keys.ts';
import { regionOf, type TwinNotes } from './notes.ts';
import { nameOf, objectIn, objectsIn, type Row, textOf } from './rows.ts';

/** A set of the twin, or the reason why it is not mapped. */
export type MappedSet = { readonly set: EstateSet & { readonly location: string } } | { readonly reason: string };

/** The sets by the id that disks name, in lower case, and the vaults that they need. */
export interface MappedSets {
  readonly sets: ReadonlyMap<string, MappedSet>;
  readonly vaults: readonly (EstateVault & { readonly location: string })[];
}

/** Names of `encryptionType`; a missing one is the first. */
const encryptions: Readonly<Record<string, EstateSet['encryption']>> = {
  encryptionatrestwithcustomerkey: 'customer-key',
  encryptionatrestwithplatformandcustomerkeys: 'platform-and-customer-keys',
};

/** A key that sets use, while its versions are collected. */
interface FoundVault {
  readonly location: string;
  readonly isHsm: boolean;
  /** Versions by key, as far as sets name them. */
  readonly keys: Map<string, string[]>;
}

/** Rows about vaults and keys, and when the twin is made. */
export interface KeyContext {
  /** Of `az keyvault list` or `show`, if given. */
  readonly vaultRows: readonly Row[];
  readonly facts: KeyFacts;
  readonly nowMs: number;
  readonly notes: TwinNotes;
}

/** Maps disk encryption sets, and the vaults and keys that they name. */
export function mapSets(
  rows: readonly { readonly row: Row; readonly id: AzureId }[],
  names: TwinNames,
  context: KeyContext,
): MappedSets {
  const { facts, notes } = context;
  const found = new Map<string, FoundVault>();
  const sets = new Map<string, MappedSet>();
  const urls = new Map<string, KeyUrl>();
  for (const { row, id } of rows) {
    const mapped = mapSet(row, id, found, names);
    if ('reason' in mapped) notes.drop(`set ${id.name} (group ${id.group})`, mapped.reason);
    else urls.set(id.key, mapped.url);
    sets.set(id.key, 'reason' in mapped ? mapped : { set: mapped.set });
  }
  for (const [vault, { keys }] of found)
    for (const [key, versions] of keys) keys.set(key, allVersions(`${vault}/${key}`, versions, facts));
  for (const [key, mapped] of sets) {
    const url = urls.get(key);
    if (url !== undefined && 'set' in mapped) sets.set(key, { set: withVersion(mapped.set, url, found) });
  }
  const vaults = [...found].map(([name, vault]) => vaultOf(name, vault, context));
  noteUnused(found, context);
  return { sets, vaults };
}

/** The versions of a key, oldest first: those that rows list, otherwise those that sets name. */
function allVersions(key: string, named: readonly string[], facts: KeyFacts): string[] {
  const listed = orderedVersions(facts, key);
  return listed.length > 0 && named.every((id) => listed.includes(id)) ? [...listed] : [...named];
}

/** Notes vaults and keys that no set uses. */
function noteUnused(found: ReadonlyMap<string, FoundVault>, { vaultRows, facts, notes }: KeyContext): void {
  const unused = vaultRows.filter((row) => !found.has(nameOf(row).toLowerCase()));
  for (const row of unused) notes.drop(`vault ${nameOf(row)}`, 'no set of the files uses a key in it');
  const used = new Set(
    [...found].flatMap(([vault, { keys }]) => [...keys.keys()].map((key) => `${vault}/${key}`.toLowerCase())),
  );
  for (const key of facts.keys()) if (!used.has(key)) notes.drop(`key ${key}`, 'no set of the files uses it');
}

function mapSet(
  row: Row,
  id: AzureId,
  found: Map<string, FoundVault>,
  names: TwinNames,
): { readonly set: EstateSet & { readonly location: string }; readonly url: KeyUrl } | { readonly reason: string } {
  const type = textOf(row.encryptiontype);
  const encryption = encryptions[type.toLowerCase() || 'encryptionatrestwithcustomerkey'];
  if (encryption === undefined) return { reason: `its encryption type ${type} has no counterpart` };
  const keyUrl = textOf(objectIn(row, 'activekey').keyurl);
  if (keyUrl === '') return { reason: 'it has no active key' };
  const url = keyUrlOf(keyUrl);
  if (url === undefined) return { reason: `its key URL "${keyUrl}" is not https://<vault>/keys/<key>` };
  if (!/^[A-Za-z][A-Za-z0-9-]{2,23}$/.test(url.vault))
    return { reason: `"${url.vault}" is not 3 to 24 letters, digits and hyphens, as the name of a vault must be` };
  const location = regionOf(textOf(row.location));
  const vault = found.get(url.vault) ?? { location, isHsm: url.isHsm, keys: new Map() };
  if (vault.location !== location)
    return { reason: `it is in ${location}, and another set uses the vault ${url.vault} in ${vault.location}` };
  found.set(url.vault, vault);
  const previous = objectsIn(row, 'previouskeys').flatMap((one) => keyUrlOf(textOf(one.keyurl)) ?? []);
  for (const one of [...previous.filter(({ vault: of, key }) => of === url.vault && key === url.key), url]) {
    const versions = vault.keys.get(one.key) ?? [];
    if (one.version !== '' && !versions.includes(one.version)) versions.push(one.version);
    vault.keys.set(one.key, versions);
  }
  const set = {
    name: names.nameOf(id),
    location,
    key: `${url.vault}/${url.key}`,
    ...(encryption === 'customer-key' ? {} : { encryption }),
    ...(row.rotationtolatestkeyversionenabled === true ? { autoKeyRotation: true } : {}),
  };
  return { set, url };
}

/** If sets name several versions of a key, each set gets its own version; otherwise all get the newest. */
function withVersion<Set extends EstateSet>(
  set: Set,
  { vault, key, version }: KeyUrl,
  found: ReadonlyMap<string, FoundVault>,
): Set {
  const versions = found.get(vault)?.keys.get(key) ?? [];
  const number = versions.indexOf(version) + 1;
  return version === '' || number === versions.length ? set : { ...set, version: number };
}

function vaultOf(
  name: string,
  { location, isHsm, keys }: FoundVault,
  { vaultRows, facts, nowMs, notes }: KeyContext,
): EstateVault & { readonly location: string } {
  const row = vaultRows.find((one) => nameOf(one).toLowerCase() === name);
  if (isHsm) notes.change(`managed HSM ${name}`, 'its keys are in a vault of this name');
  if (row !== undefined) noteIgnored('vault', name, row, notes);
  if (row !== undefined && !hasProperties(row))
    notes.change(
      `vault ${name}`,
      `its row has no properties, so whether it uses roles is not known: it has access policies. az keyvault list omits them: add the file of az keyvault show --name ${name} -o json`,
    );
  const all = [...keys].map(([key, versions]): EstateKey => {
    const full = `${name}/${key}`;
    for (const { row: of } of facts.get(full.toLowerCase()) ?? []) noteIgnored('key', full, of, notes);
    const states = versionStates(full, versions.length === 0 ? [''] : versions, facts, { nowMs, notes });
    if (states.length === 1) return { name: key, ...(states[0] === 'enabled' ? {} : { versions: states }) };
    if (orderedVersions(facts, full).length !== versions.length)
      notes.change(
        `key ${full}`,
        `it has the ${versions.length} versions that sets name; which of them is older is not known: az keyvault key list-versions says it`,
      );
    return { name: key, versions: states };
  });
  return { name, location, ...(row?.enablerbacauthorization === true ? { permissions: 'roles' } : {}), keys: all };
}

/** The id of a row; undefined if it has none. */
export const idOf = (row: Row): AzureId | undefined => azureId(textOf(row.id));
