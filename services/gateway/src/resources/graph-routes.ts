import { Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { Int32 } from '../http/int32.ts';
import { type Route, type RouteRequest, route } from '../http/route.ts';
import type { Computing, Work } from '../text/work.ts';
import type { Row } from './graph-operators.ts';
import { graphQueryOf, queryLengthMax } from './graph-query.ts';

const QueryBody = Type.Object({
  query: Type.String({ maxLength: queryLengthMax }),
  subscriptions: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 1_000 })),
  options: Type.Optional(
    Type.Object({
      $top: Type.Optional(Int32),
      $skip: Type.Optional(Int32),
      $skipToken: Type.Optional(Type.String({ maxLength: 100 })),
      resultFormat: Type.Optional(Type.String({ maxLength: 20 })),
    }),
  ),
});

/** Rows of an answer unless the client says how many, and at most, as in the public cloud. */
const rowsMax = 1_000;

/** Subscriptions whose resources are read at the same time. */
const subscriptionsAtOnce = 4;

/** What queries need. */
export interface ResourceGraphParts {
  readonly names: CloudNames;
  readonly compute: Computing;
  /** Ids of the subscriptions that the caller sees, as clients write them. */
  readonly subscriptionsOf: (caller: Caller) => Promise<readonly string[]>;
  /** Every resource of a subscription that the caller may read, as its own list has it. */
  readonly resourcesOf: (
    request: RouteRequest<string, unknown>,
    subscription: string,
    caller: Caller,
  ) => Promise<readonly Row[]>;
}

/** The resource graph: queries over all resources. */
export const resourceGraphRoutes = (parts: ResourceGraphParts): readonly Route[] => [
  route({
    host: 'gateway',
    method: 'POST',
    path: '/providers/Microsoft.ResourceGraph/resources',
    does: 'Queries resources: where, project, extend, order by, limit, count, distinct, summarize count() by',
    body: QueryBody,
    handle: async (request, caller) => {
      const { query, options = {}, subscriptions = await parts.subscriptionsOf(caller) } = request.body;
      const { table, run } = graphQueryOf(query);
      if (table !== 'resources') {
        throw new RestError(400, 'NotSupported', `The table must be Resources (got "${table.slice(0, 50)}").`);
      }
      const wanted = [...new Set(subscriptions.map((one) => one.toLowerCase()))];
      const found: Row[] = [];
      for (let at = 0; at < wanted.length; at += subscriptionsAtOnce) {
        const some = wanted.slice(at, at + subscriptionsAtOnce);
        const lists = await Promise.all(some.map((one) => parts.resourcesOf(request, one, caller)));
        for (const row of lists.flat()) found.push(row);
      }
      const from = options.$skipToken === undefined ? (options.$skip ?? 0) : Number(options.$skipToken) || 0;
      const until = from + Math.min(Math.max(options.$top ?? rowsMax, 1), rowsMax);
      // The steps of a row are limited by the length of the query.
      const limits = { refuse: tooMuch, stepsMax: Number.POSITIVE_INFINITY };
      const { rows, data } = await parts.compute(caller.principal, limits, async (work) => {
        const rows = await run(
          found.map((one) => shown(parts.names, caller, one)),
          work,
        );
        return { rows, data: await page(rows.slice(from, until), work) };
      });
      return {
        body: {
          totalRecords: rows.length,
          count: data.length,
          resultTruncated: 'false',
          facets: [],
          data: options.resultFormat?.toLowerCase() === 'table' ? asTable(data) : data,
          ...(until < rows.length ? { $skipToken: String(until) } : {}),
        },
      };
    },
  }),
];

const tooMuch = (what: string): RestError =>
  new RestError(
    400,
    'ResponsePayloadTooLarge',
    `The query is too large: ${what}. Select fewer columns, or fewer rows with $top.`,
  );

/** The rows of a page, if they are not too large together. */
const page = async (rows: readonly Row[], work: Work): Promise<readonly Row[]> => {
  for (const row of rows) {
    await work.yieldIfDue();
    work.make(work.sizeOf(row));
  }
  return rows;
};

const shown = (names: CloudNames, caller: Caller, resource: Row): Row => {
  const [, , subscriptionId = '', , resourceGroup = ''] = String(resource.id).split('/');
  return {
    ...resource,
    type: String(resource.type).toLowerCase(),
    tenantId: names.tenants.shown(caller.tenant),
    subscriptionId,
    resourceGroup: resourceGroup.toLowerCase(),
  };
};

const asTable = (rows: readonly Row[]): unknown => {
  const columns = Object.keys(rows[0] ?? {});
  return {
    columns: columns.map((name) => ({ name, type: typeof rows[0]?.[name] === 'object' ? 'object' : 'string' })),
    rows: rows.map((row) => columns.map((name) => row[name] ?? null)),
  };
};
