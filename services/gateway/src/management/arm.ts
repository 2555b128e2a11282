import { type TProperties, Type } from '@sinclair/typebox';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { membersOf } from '../text/members.ts';

/** Tags of a resource: at most 50, each value at most 256 characters. */
export const TagsBody = membersOf(Type.String({ maxLength: 256 }), {
  propertyNames: { maxLength: 512 },
  maxProperties: 50,
});

/** A resource in a PUT. Members that are not named are read-only or unknown, and ignored. */
export const resourceBody = <Properties extends TProperties>(properties: Properties) =>
  Type.Object({
    location: Type.Optional(Type.String({ maxLength: 64 })),
    tags: Type.Optional(TagsBody),
    properties: Type.Object(properties),
  });

/** A region as ids have it: `West Europe` is `westeurope` (REST-10). */
export const regionOf = (location: string): string => location.replaceAll(' ', '').toLowerCase();

/** @throws RestError 400 */
export const requireLocation = (location: string | undefined): string => {
  if (location !== undefined && location !== '') return regionOf(location);
  throw new RestError(400, 'LocationRequired', 'The location property is required for this definition.');
};

/** @param now region of the resource @throws RestError 409 for another region: a resource does not move (REST-10) */
export const refuseMove = (location: string | undefined, now: string, resource: string): void => {
  if (location === undefined || regionOf(location) === regionOf(now)) return;
  throw new RestError(
    409,
    'InvalidResourceLocation',
    `The resource '${resource.split('/').at(-1)}' already exists in location '${now}' in resource group '${resource.split('/')[3] ?? ''}'. A resource with the same name cannot be created in location '${regionOf(location)}'. Please select a new resource name.`,
  );
};

/** What the path of a resource names. */
export interface ResourcePath {
  readonly subscription: string;
  readonly group: string;
}

/** ARM id of a resource, in the case that the client used (REST-02). */
export const armId = ({ subscription, group }: ResourcePath, type: string, name: string): string =>
  `/subscriptions/${subscription}/resourceGroups/${group}/providers/${type}/${name}`;

/** ARM id of a resource with an Interlock name: `subscriptions/<s>/resourceGroups/<g>/<kind>/<name>`. */
export const armIdOf = (names: CloudNames, name: string, type: string): string => {
  const [, subscription = '', , group = '', , resource = ''] = name.split('/');
  return armId({ subscription: names.subscriptions.shown(subscription), group }, type, resource);
};

/** @returns the refusal of a resource that does not exist (REST-17) */
export const resourceNotFound = ({ group }: ResourcePath, type: string, name: string): RestError =>
  new RestError(
    404,
    'ResourceNotFound',
    `The Resource '${type}/${name}' under resource group '${group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix`,
  );

/**
 * @param etag of the resource; undefined: it does not exist
 * @throws RestError 412 where `If-Match` names another version, or `If-None-Match: *` meets a resource (REST-12)
 */
export const requireMatch = (
  headers: Readonly<Record<string, string | string[] | undefined>>,
  etag: string | undefined,
): void => {
  const wanted = headers['if-match'];
  const isMatch = wanted === undefined || (etag !== undefined && (wanted === '*' || wanted === `"${etag}"`));
  const isUnwanted = headers['if-none-match'] === '*' && etag !== undefined;
  if (isMatch && !isUnwanted) return;
  const now = etag === undefined ? 'it does not exist' : `its etag is "${etag}"`;
  throw new RestError(412, 'PreconditionFailed', `The precondition of the request is not met: ${now}.`);
};
