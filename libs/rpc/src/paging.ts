import { Rejection } from '@interlock/event-store';

/** Items of a page when the request does not say (AIP-158). */
const defaultPageSize = 50;
/** Most items of a page; a larger page size is reduced to this. */
const maxPageSize = 1_000;

/** Keys by which lists are ordered: names and ids. Other texts are not passed to a store, which refuses a NUL, for example. */
const isKey = /^[\n\x20-\x7e]+$/;

/**
 * Reads `page_size` and `page_token` of a list request in the form that stores accept.
 * @throws Rejection INVALID_ARGUMENT PAGE_SIZE_INVALID for a negative size, PAGE_TOKEN_INVALID for a token that no list returned
 */
export const pageOf = (request: {
  readonly pageSize: number;
  readonly pageToken: string;
}): { readonly limit: number; readonly after?: string } => {
  if (request.pageSize < 0) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'PAGE_SIZE_INVALID',
      `page_size must be 0 (default ${defaultPageSize}) or more, not ${request.pageSize}`,
      {
        field: 'page_size',
      },
    );
  }
  const limit = Math.min(request.pageSize || defaultPageSize, maxPageSize);
  if (request.pageToken === '') return { limit };
  const after = Buffer.from(request.pageToken, 'base64url').toString();
  if (!isKey.test(after) || pageToken(after) !== request.pageToken) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'PAGE_TOKEN_INVALID',
      'page_token must be the next_page_token of an earlier answer',
      { field: 'page_token' },
    );
  }
  return { limit, after };
};

/** The `next_page_token` that continues after this key; empty after the last page. */
export const pageToken = (next: string | undefined): string =>
  next === undefined ? '' : Buffer.from(next).toString('base64url');

/**
 * Reads an optional `etag` of a request: the stream version that the caller expects.
 * @throws Rejection INVALID_ARGUMENT ETAG_INVALID
 */
export const expectedVersion = (etag: string): { readonly expected?: number } => {
  if (etag === '') return {};
  if (/^[0-9]{1,15}$/.test(etag)) return { expected: Number(etag) };
  throw new Rejection(
    'INVALID_ARGUMENT',
    'ETAG_INVALID',
    'etag must be empty or the etag of the resource as last read',
    { field: 'etag' },
  );
};
