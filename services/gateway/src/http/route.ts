import type { Readable } from 'node:stream';
import type { Static, TSchema } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';

/** Hosts that a route is served on: the gateway's own (management, sign-in, directory), or that of each vault. */
export type HostKind = 'gateway' | 'vault';

type ParamsIn<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | ParamsIn<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never;

/** A request that was authenticated and fits the schema of its route. */
export interface RouteRequest<Path extends string, Body> {
  readonly params: Readonly<Record<ParamsIn<Path>, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** `https://host:port` that the client called. */
  readonly origin: string;
  /** Path and query as the client sent them, with one slash at a time. */
  readonly url: string;
  /** Network address of the client. */
  readonly address: string;
}

/** What a handler answers. */
export interface RouteReply {
  /** Default 200. */
  readonly status?: number;
  /** JSON; absent: no body. */
  readonly body?: unknown;
  /** Bytes in place of JSON; their type is in the headers. */
  readonly stream?: Readable;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the URL of a request names. */
export interface UrlParts {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
}

/** One row of the route table: router, validation, `docs/not-emulated.md` and the fuzz are made from it. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE' | 'HEAD';
  readonly host: HostKind;
  /** Fastify's form. On the host of a vault the path begins with the name of the vault. */
  readonly path: string;
  /** What the route does, for the documentation. */
  readonly does: string;
  /** `public`: no token. `management` and `vault`: a token of such an audience; `directory`: a token for Graph. */
  readonly access: 'public' | 'management' | 'vault' | 'directory';
  /** Whether `api-version` is required. */
  readonly versioned: boolean;
  readonly body?: TSchema;
  /** The body is a form and not JSON. */
  readonly isForm?: boolean;
  /** The body may be JSON5: the command line sends templates with comments and with a member without quotes. */
  readonly isJson5?: boolean;
  /** Largest body in bytes, where it is another than that of JSON. */
  readonly bodyBytesMax?: number;
  /**
   * For a public route whose URL proves the right to call it: checks the URL before the body is read.
   * @returns whose memory the body takes @throws RestError
   */
  readonly ownerOfUrl?: (url: UrlParts) => string;
  /** Why the request is always refused with `NotSupported`; absent for a route that is served. */
  readonly refusedBecause?: string;
  readonly handle: (request: RouteRequest<string, unknown>, caller: Caller) => Promise<RouteReply> | RouteReply;
}

/** What a token of the gateway is for. */
export type TokenUse = Exclude<Route['access'], 'public'>;

/** Makes the caller of a request from its `Authorization` header. @throws RestError 401 with the challenge of the use */
export type Admit = (
  use: TokenUse,
  authorization: string | undefined,
  from: Pick<Caller, 'correlationId' | 'address'>,
) => Promise<Caller>;

interface RouteOptions<Path extends string, Body extends TSchema>
  extends Omit<Route, 'path' | 'body' | 'handle' | 'versioned' | 'access'> {
  readonly path: Path;
  /** Default: that of the host. */
  readonly access?: Route['access'];
  /** Default true, except for public routes. */
  readonly versioned?: boolean;
  readonly body?: Body;
  readonly handle: (request: RouteRequest<Path, Static<Body>>, caller: Caller) => Promise<RouteReply> | RouteReply;
}

/** Makes a row of the table, with the types of its path and body. */
export const route = <const Path extends string, Body extends TSchema = TSchema>(
  options: RouteOptions<Path, Body>,
): Route => {
  const access = options.access ?? (options.host === 'vault' ? 'vault' : 'management');
  return {
    ...options,
    access,
    versioned: options.versioned ?? access !== 'public',
    // The router hands over a request only after its path and body fit.
    handle: options.handle as Route['handle'],
  };
};

/** A row that refuses: the operation exists in the public cloud and not here. */
export const refusedRoute = (
  row: Pick<Route, 'method' | 'host' | 'path' | 'does'> &
    Partial<Pick<Route, 'access' | 'versioned'>> & { readonly refusedBecause: string },
): Route =>
  route({
    ...row,
    handle: () => {
      throw new RestError(400, 'NotSupported', `${row.does}: not supported here. ${row.refusedBecause}`);
    },
  });
