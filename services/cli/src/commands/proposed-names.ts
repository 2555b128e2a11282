import type { JsonObject } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import { fullName, type NameKind, shortName } from '../request/names.ts';
import { isObject, methodOf, Service, type ServiceName } from '../request/schema.ts';
import type { Session } from '../session/session.ts';

/** How names of a kind are listed. */
interface Listing {
  readonly service: Workload;
  readonly contract: ServiceName;
  /** In the .proto file. */
  readonly method: string;
  /** Field of the response. */
  readonly field: string;
}

const listingOf = (service: Workload, contract: ServiceName, plural: string): Listing => ({
  ...{ service, contract },
  method: `List${plural}`,
  field: `${plural.charAt(0).toLowerCase()}${plural.slice(1)}`,
});

const listings: Partial<Record<NameKind, Listing>> = {
  vault: listingOf('key-vault', Service.keyVault, 'Vaults'),
  diskEncryptionSet: listingOf('disk-encryption-set', Service.diskEncryptionSet, 'DiskEncryptionSets'),
  disk: listingOf('disk', Service.disk, 'Disks'),
  snapshot: listingOf('disk', Service.disk, 'Snapshots'),
  diskHost: listingOf('disk', Service.disk, 'DiskHosts'),
  virtualMachine: listingOf('compute', Service.compute, 'VirtualMachines'),
  vmHost: listingOf('compute', Service.compute, 'VmHosts'),
};
const keys = listingOf('key-vault', Service.keyVault, 'Keys');
const keyVersions = listingOf('key-vault', Service.keyVault, 'KeyVersions');

/** Names that are looked at, at most: the services list no more at once. */
const namesMax = 1_000;

/** Kinds whose names are those of a vault, a key and a version, one part after the other. */
const keyKinds: ReadonlySet<NameKind> = new Set(['key', 'keyVersion', 'keyOrVersion', 'onlyVersion']);

/**
 * Short names of what is there, for a word that is being typed; of keys the next part, with `/` if another one follows.
 * @throws what the lists throw
 */
export async function proposedNames(
  kinds: readonly NameKind[],
  word: string,
  session: Pick<Session, 'caller' | 'settings'>,
): Promise<readonly string[]> {
  const known = new Set(kinds);
  const ofKeys = kinds.some((kind) => keyKinds.has(kind)) ? await namesOfKeys(kinds, word, session) : [];
  const lists = [...known].flatMap((kind) => listings[kind] ?? []);
  const listed = await Promise.all(lists.map((listing) => list(listing, parentIn(word, session), session)));
  const own = known.has('principal') ? ['me'] : [];
  return [...new Set([...own, ...listed.flat(), ...ofKeys])];
}

/** `kv1/`, then `kv1/k1`, then the versions of that key. */
async function namesOfKeys(
  kinds: readonly NameKind[],
  word: string,
  session: Pick<Session, 'caller' | 'settings'>,
): Promise<readonly string[]> {
  const [vault = '', key, version] = word.split('/');
  if (key === undefined) {
    const vaults = listings.vault;
    return vaults ? (await list(vaults, parentIn('', session), session)).map((name) => `${name}/`) : [];
  }
  if (version === undefined) return list(keys, `vaults/${vault}`, session);
  return kinds.every((kind) => kind === 'key') ? [] : list(keyVersions, `vaults/${vault}/keys/${key}`, session);
}

/** The default group; the subscription if there is none, or a group was typed. */
function parentIn(word: string, { settings: { names } }: Pick<Session, 'settings'>): string | undefined {
  if (names.group === undefined || word.includes('/')) return names.subscription;
  return fullName('resourceGroup', names.group, names, '--group');
}

async function list(
  { service, contract, method: name, field }: Listing,
  parent: string | undefined,
  { caller, settings }: Pick<Session, 'caller' | 'settings'>,
): Promise<readonly string[]> {
  const method = methodOf(contract, name);
  const hasParent = method.request.fields.some((one) => one.name === 'parent');
  const request: JsonObject = { pageSize: namesMax, ...(hasParent && parent !== undefined ? { parent } : {}) };
  const found = (await caller.call(service, method, request))[field];
  const resources = Array.isArray(found) ? found.filter(isObject) : [];
  return resources.map((resource) => shortName(String(resource.name), settings.names));
}
