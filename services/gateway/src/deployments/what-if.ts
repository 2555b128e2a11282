import { isDeepStrictEqual } from 'node:util';
import type { Dispatch, OwnHeaders } from '../http/dispatch.ts';
import { referenceIn } from './reference.ts';
import type { ResolvedResource } from './template.ts';

type Members = Readonly<Record<string, unknown>>;

/** What a deployment would change of a property. `children` are those of an object. */
interface PropertyChange {
  readonly path: string;
  readonly propertyChangeType: 'Create' | 'Modify';
  readonly before?: unknown;
  readonly after: unknown;
  readonly children?: readonly PropertyChange[];
}

/** What a deployment would do with a resource. */
export interface ResourceChange {
  readonly resourceId: string;
  readonly changeType: 'Create' | 'Modify' | 'NoChange' | 'Unsupported';
  readonly unsupportedReason?: string;
  readonly before?: unknown;
  readonly after?: unknown;
  readonly delta?: readonly PropertyChange[];
}

/** Resources read at the same time. */
const readsAtOnce = 10;

/** Predicts what a deployment would do: reads each resource, with the rights of the caller, and compares. */
export const changesOf = async (
  resources: readonly ResolvedResource[],
  dispatch: Dispatch,
  headers: OwnHeaders,
): Promise<readonly ResourceChange[]> => {
  const changes: ResourceChange[] = [];
  for (let at = 0; at < resources.length; at += readsAtOnce) {
    const some = resources.slice(at, at + readsAtOnce).map((resource) => changeOf(resource, dispatch, headers));
    changes.push(...(await Promise.all(some)));
  }
  return changes;
};

const changeOf = async (
  { id, name, type, apiVersion, body }: ResolvedResource,
  dispatch: Dispatch,
  headers: OwnHeaders,
): Promise<ResourceChange> => {
  const url = `${encodeURI(id)}?api-version=${encodeURIComponent(apiVersion)}`;
  const { status, body: before } = await dispatch.send({ method: 'GET', url }, headers);
  const after = { id, name: name.split('/').at(-1), type, apiVersion, ...body };
  if (status === 404) return { resourceId: id, changeType: 'Create', after };
  if (status >= 400) {
    const unsupportedReason = `the resource cannot be read: status ${status}`;
    return { resourceId: id, changeType: 'Unsupported', unsupportedReason };
  }
  const delta = deltaOf(before as Members, body);
  return { resourceId: id, changeType: delta.length === 0 ? 'NoChange' : 'Modify', before, after, delta };
};

const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Texts match whatever their case: names, ids and regions do. */
const isSame = (before: unknown, after: unknown): boolean =>
  // Known only when it is deployed.
  referenceIn(after) !== undefined ||
  (typeof before === 'string' && typeof after === 'string'
    ? plain(before) === plain(after)
    : isDeepStrictEqual(before, after));

const plain = (text: string): string => text.replaceAll(' ', '').toLowerCase();

/** Changes of the members that the template names. What it leaves out stays. */
export const deltaOf = (before: Members, after: Members): readonly PropertyChange[] =>
  Object.entries(after).flatMap(([path, value]): readonly PropertyChange[] => {
    const now = before[path];
    if (isSame(now, value)) return [];
    if (now === undefined) return [{ path, propertyChangeType: 'Create', after: value }];
    if (!isObject(now) || !isObject(value)) return [{ path, propertyChangeType: 'Modify', before: now, after: value }];
    const children = deltaOf(now, value);
    return children.length === 0 ? [] : [{ path, propertyChangeType: 'Modify', before: now, after: value, children }];
  });
