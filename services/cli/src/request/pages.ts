import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import type { Caller } from './calls.ts';
import { isObject, type Method } from './schema.ts';

/** Most elements that a page has; a larger page size is answered with this many. */
export const PAGE_SIZE_MAX = 1_000;

/** The field of a list response: the only list of messages in it, besides plain fields. Undefined for other responses. */
export function listOf(message: DescMessage): (DescField & { readonly message: DescMessage }) | undefined {
  const [only, second] = message.fields.filter(({ message: inner }) => inner !== undefined);
  const isPage = message.name.endsWith('Response') || message.name === 'FactBatch';
  if (only?.fieldKind !== 'list' || only.listKind !== 'message' || second !== undefined || !isPage) return undefined;
  return only;
}

/** Token of the next page; empty after the last. */
export const nextPageIn = ({ nextPageToken }: JsonObject): string =>
  typeof nextPageToken === 'string' ? nextPageToken : '';

/** The elements of a list response. */
export const elementsIn = (method: Method, response: JsonObject): readonly JsonObject[] =>
  arrayOf(response[listOf(method.response)?.jsonName ?? '']).filter(isObject);

/**
 * Reads the pages of a list after the given one.
 * @returns the last response, with the elements of every page; a response that is no list as it is
 */
export async function withAllPages(
  { call }: Pick<Caller, 'call'>,
  service: Workload,
  method: Method,
  request: JsonObject,
  first: JsonObject,
): Promise<JsonObject> {
  const field = listOf(method.response)?.jsonName;
  if (field === undefined || nextPageIn(first) === '') return first;
  const all = [...arrayOf(first[field])];
  let page = first;
  while (nextPageIn(page) !== '') {
    page = await call(service, method, { ...request, pageToken: nextPageIn(page), pageSize: PAGE_SIZE_MAX });
    all.push(...arrayOf(page[field]));
  }
  return { ...page, [field]: all };
}

/** Every element of a list. */
export const readList = async (
  caller: Pick<Caller, 'call'>,
  service: Workload,
  method: Method,
  request: JsonObject = {},
): Promise<readonly JsonObject[]> => {
  const first = await caller.call(service, method, { ...request, pageSize: PAGE_SIZE_MAX });
  return elementsIn(method, await withAllPages(caller, service, method, request, first));
};

const arrayOf = (value: JsonValue | undefined): readonly JsonValue[] => (Array.isArray(value) ? value : []);
