import type { EstateKey, EstateSet, EstateVault } from '../estate-file.ts';
import { type AzureId, azureId, type KeyUrl, keyUrlOf, type TwinNames } from './ids.ts';
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

/** Maps disk encryption sets, and the vaults and keys that they name. @param vaultRows of `az keyvault list`, if given */
export function mapSets(
  rows: readonly { readonly row: Row; readonly id: AzureId }[],
  vaultRows: readonly Row[],
  names: TwinNames,
  notes: TwinNotes,
): MappedSets {
  const found = new Map<string, FoundVault>();
  const sets = new Map<string, MappedSet>();
  const urls = new Map<string, KeyUrl>();
  for (const { row, id } of rows) {
    const mapped = mapSet(row, id, found, names);
    if ('reason' in mapped) notes.drop(`set ${id.name} (group ${id.group})`, mapped.reason);
    else urls.set(id.key, mapped.url);
    sets.set(id.key, 'reason' in mapped ? mapped : { set: mapped.set });
  }
  for (const [key, mapped] of sets) {
    const url = urls.get(key);
    if (url !== undefined && 'set' in mapped) sets.set(key, { set: withVersion(mapped.set, url, found) });
  }
  const vaults = [...found].map(([name, vault]) => vaultOf(name, vault, vaultRows, notes));
  const unused = vaultRows.filter((row) => !found.has(nameOf(row).toLowerCase()));
  for (const row of unused) notes.drop(`vault ${nameOf(row)}`, 'no set of the files uses a key in it');
  return { sets, vaults };
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
  vaultRows: readonly Row[],
  notes: TwinNotes,
): EstateVault & { readonly location: string } {
  const row = vaultRows.find((one) => nameOf(one).toLowerCase() === name);
  if (isHsm) notes.change(`managed HSM ${name}`, 'its keys are in a vault of this name');
  const all = [...keys].map(([key, versions]): EstateKey => {
    if (versions.length < 2) return { name: key };
    notes.change(
      `key ${name}/${key}`,
      `it has the ${versions.length} versions that sets name; which of them is older is not known`,
    );
    return { name: key, versions: versions.map(() => 'enabled') };
  });
  return { name, location, ...(row?.enablerbacauthorization === true ? { permissions: 'roles' } : {}), keys: all };
}

/** The id of a row; undefined if it has none. */
export const idOf = (row: Row): AzureId | undefined => azureId(textOf(row.id));
