import { RestError } from '../errors/rest-error.ts';
import { type CloudNames, groupName, keyUrl } from './names.ts';

/** Types of resources in a group that Interlock services have, by the word that Interlock names use. */
export const armTypes = {
  diskEncryptionSets: 'Microsoft.Compute/diskEncryptionSets',
  disks: 'Microsoft.Compute/disks',
  snapshots: 'Microsoft.Compute/snapshots',
  virtualMachines: 'Microsoft.Compute/virtualMachines',
} as const;

/** The word for a kind of resource in Interlock names. */
export type Collection = keyof typeof armTypes;

/** What the path of a resource names, as the client wrote it. */
export interface NamedPath {
  readonly subscription: string;
  readonly group: string;
  readonly name: string;
}

/** Interlock name: `subscriptions/<s>/resourceGroups/<g>/<collection>/<name>`, in lower case (REST-02). */
export const innerName = (names: CloudNames, path: NamedPath, collection: Collection): string =>
  `${groupName(names, path.subscription, path.group)}/${collection}/${path.name.toLowerCase()}`;

/** The collection of an Interlock name; undefined for any other name. */
export const collectionOf = (name: string): Collection | undefined => {
  const word = name.split('/')[4] ?? '';
  return word in armTypes ? (word as Collection) : undefined;
};

/** The last segment of a name or id. */
export const lastSegment = (name: string): string => name.split('/').at(-1) ?? '';

/** ARM id of a resource, from its Interlock name. */
export const armIdOfName = (names: CloudNames, name: string): string => {
  const [, subscription = '', , group = '', word = '', resource = ''] = name.split('/');
  const type = armTypes[word as Collection] ?? word;
  return `/subscriptions/${names.subscriptions.shown(subscription)}/resourceGroups/${group}/providers/${type}/${resource}`;
};

const armIdForm =
  /^\/+subscriptions\/+([^/]+)\/+resourceGroups\/+([^/]+)\/+providers\/+(Microsoft\.Compute)\/+([^/]+)\/+([^/]+)\/*$/i;

/**
 * Interlock name of a resource that a body names by its ARM id.
 * @param collections types that the field may name
 * @param field for the error
 * @throws RestError 400 LinkedInvalidPropertyId
 */
export const innerNameOfId = (
  names: CloudNames,
  id: string,
  collections: readonly Collection[],
  field: string,
): string => {
  const [, subscription, group, namespace, type, name] = armIdForm.exec(id) ?? [];
  const collection = collections.find((one) => armTypes[one].toLowerCase() === `${namespace}/${type}`.toLowerCase());
  if (collection !== undefined && subscription && group && name)
    return innerName(names, { subscription, group, name }, collection);
  const allowed = collections.map((one) => armTypes[one]).join(' or ');
  throw new RestError(
    400,
    'LinkedInvalidPropertyId',
    `Property id '${id.slice(0, 300)}' at path '${field}' is invalid. Expect the fully qualified resource Id of a resource of type ${allowed}, which starts with '/subscriptions/{subscriptionId}'.`,
    { details: [{ code: 'LinkedInvalidPropertyId', message: 'the id names no such resource', target: field }] },
  );
};

const keyVersionInText = /vaults\/[a-z0-9-]+\/keys\/[\w-]+\/versions\/[0-9a-f]{32}/gi;
const resourceInText =
  /subscriptions\/[\w.-]+\/resourceGroups\/[\w().-]+\/(?:diskEncryptionSets|disks|snapshots|virtualMachines)\/[\w.-]*[\w-]/g;

/** A message of a service with the names that clients know: URLs of keys, ARM ids of resources. */
export const textForClients = (names: CloudNames, text: string): string =>
  text
    .replace(keyVersionInText, (name) => keyUrl(names, name))
    .replace(resourceInText, (name, at: number) => (text[at - 1] === '/' ? name : armIdOfName(names, name)));
