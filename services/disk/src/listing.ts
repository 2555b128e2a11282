import type { Category, EventOf, IndexEntry, Loaded } from '@interlock/event-store';
import { pageOf, pageToken } from '@interlock/rpc';

/** Items of a page if the request does not set a size. */
const pageSizeDefault = 100;

/** A page with its limit and place, as the requests of this service have them. @throws Rejection as `pageOf` */
export const pageOfRequest = (request: { readonly pageSize: number; readonly pageToken: string }) =>
  pageOf({ pageSize: request.pageSize || pageSizeDefault, pageToken: request.pageToken });

/**
 * One page of what `keep` keeps, in order of ids: pages of the store are read until it is full.
 * @param narrow keeps some of these, with one read of the store for a page
 */
export const listKept = async <State, Event extends EventOf>(
  category: Pick<Category<State, Event>, 'list'>,
  query: { readonly index?: IndexEntry; readonly prefix?: string; readonly after?: string; readonly limit: number },
  keep: (loaded: Loaded<State>) => boolean,
  narrow: (page: readonly Loaded<State>[]) => Promise<readonly Loaded<State>[]> = async (page) => page,
): Promise<{ readonly items: readonly Loaded<State>[]; readonly next: string | undefined }> => {
  const items: Loaded<State>[] = [];
  let after = query.after;
  for (;;) {
    // One item more than fits shows that another page exists. Requested together, it needs no page of the store of its own.
    const limit = query.limit + 1;
    const page = await category.list({ ...query, ...(after === undefined ? {} : { after }), limit });
    for (const loaded of await narrow(page.items.filter(keep))) {
      if (items.length === query.limit) return { items, next: items.at(-1)?.id };
      items.push(loaded);
    }
    after = page.next;
    if (after === undefined) return { items, next: undefined };
  }
};

/** Merges pages of several categories, each requested with the same limit and place, into one in order of ids. */
export const mergePages = <Item extends { readonly id: string }>(
  pages: readonly { readonly items: readonly Item[]; readonly next: string | undefined }[],
  limit: number,
): { readonly items: readonly Item[]; readonly nextPageToken: string } => {
  const all = pages.flatMap(({ items }) => items).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const items = all.slice(0, limit);
  const hasMore = all.length > limit || pages.some(({ next }) => next !== undefined);
  return { items, nextPageToken: pageToken(hasMore ? items.at(-1)?.id : undefined) };
};
