import { RestError } from '../errors/rest-error.ts';
import type { RouteRequest } from './route.ts';

/** Largest page; a request for more items counts as a request for this many. */
const pageSizeMax = 1_000;

/**
 * The requested page. Vaults name its size `maxresults`, management `$top`.
 * @throws RestError 400
 */
export const pageOf = ({
  query,
}: Pick<RouteRequest<string, unknown>, 'query'>): { pageSize: number; pageToken: string } => {
  const given = query.maxresults ?? query.$top;
  const pageSize = given === undefined ? 0 : Number(given);
  if (!Number.isInteger(pageSize) || pageSize < 0 || (given !== undefined && pageSize === 0)) {
    throw new RestError(
      400,
      'BadParameter',
      `maxresults must be a whole number from 1 to ${pageSizeMax} (got "${given?.slice(0, 50)}")`,
    );
  }
  return { pageSize: Math.min(pageSize, pageSizeMax), pageToken: query.$skiptoken ?? '' };
};

/** A list as clients read it. @param next token of the next page; empty on the last */
export const listBody = (
  { origin, url, query }: Pick<RouteRequest<string, unknown>, 'origin' | 'url' | 'query'>,
  value: readonly unknown[],
  next: string,
): unknown => {
  if (next === '') return { value };
  const [path = ''] = url.split('?');
  const parameters = new URLSearchParams({ ...query, $skiptoken: next });
  return { value, nextLink: `${origin}${path}?${parameters}` };
};
