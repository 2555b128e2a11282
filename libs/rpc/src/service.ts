import type { CompatServiceDefinition, Server, ServiceImplementation, TsProtoServiceDefinition } from 'nice-grpc';
import type { Authorization, Rule } from './authorization.ts';
import type { CallFields } from './call.ts';
import { ownBytes } from './message-copy.ts';
import { readable } from './request-values.ts';

/**
 * What ts-proto generates for a service. A method may have its own codec in place of a generated message type (`{encode, decode}`
 * without `fromPartial`): see `sharedBytes` for data that must not be copied. The plain form of nice-grpc is not accepted:
 * nice-grpc takes it for a grpc-js definition, copies every received message, and loses which methods are idempotent.
 */
export type Definition = TsProtoServiceDefinition;

/** Handlers of a service: `(request, call)`, where `call` is a `Call`; async generators for response streams. */
export type Implementation<D extends CompatServiceDefinition> = ServiceImplementation<D, CallFields>;

/** A method as the in-process transport needs it. */
export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly options: { readonly idempotencyLevel?: 'IDEMPOTENT' | 'NO_SIDE_EFFECTS' };
  requestSerialize(value: unknown): Uint8Array;
  requestDeserialize(bytes: Uint8Array): unknown;
  responseSerialize(value: unknown): Uint8Array;
  responseDeserialize(bytes: Uint8Array): unknown;
  /** The message as the other side would receive it; copied without encoding if possible. */
  requestCopy(value: unknown): unknown;
  responseCopy(value: unknown): unknown;
}

/** A service ready to be served: by gRPC or in process. */
export interface BoundService {
  /** `interlock.key_vault.v1.KeyVaultService`. */
  readonly name: string;
  /** Path (`/package.Service/Method`) → who may call it. */
  readonly rules: ReadonlyMap<string, Rule<unknown>>;
  /** Path → method and the handler behind it. */
  readonly handlers: ReadonlyMap<string, { readonly method: Method; readonly handle: Handler }>;
  /** Adds the service to a gRPC server; the middleware of that server runs the calls. */
  mount(server: Pick<Server<CallFields>, 'add'>): void;
}

/** A handler without the types of its messages. */
export type Handler = (request: unknown, call: unknown) => unknown;

/**
 * Binds the handlers of a service to its definition and to its authorization rules.
 * @throws Error when a method has no handler or no rule; for typed callers this does not compile
 */
export function service<const D extends Definition>(parts: {
  readonly definition: D;
  readonly implementation: Implementation<D>;
  readonly authorization: Authorization<D>;
}): BoundService {
  const { definition, implementation, authorization } = parts;
  const rules = new Map<string, Rule<unknown>>();
  const handlers = new Map<string, { method: Method; handle: Handler }>();
  for (const [name, method] of methodsOf(definition)) {
    const rule: Rule<unknown> | undefined = Reflect.get(authorization, name);
    const handler: unknown = Reflect.get(implementation, name);
    if (rule === undefined) throw new Error(`${method.path} has no authorization rule`);
    if (typeof handler !== 'function') throw new Error(`${method.path} has no handler`);
    rules.set(method.path, rule);
    handlers.set(method.path, {
      method,
      handle: (request, call) => Reflect.apply(handler, implementation, [request, call]),
    });
  }
  return {
    name: definition.fullName,
    rules,
    handlers,
    mount: (server) => server.add(withReadableRequests(definition), implementation),
  };
}

/** The same service with decoders that do not throw: see `UnreadableRequest`. */
const withReadableRequests = <D extends Definition>(definition: D): D => ({
  ...definition,
  methods: Object.fromEntries(
    Object.entries(definition.methods).map(([name, method]) => {
      const { requestType } = method;
      return [name, { ...method, requestType: { ...requestType, decode: readable(requestType.decode) } }];
    }),
  ),
});

const known = new WeakMap<Definition, ReadonlyMap<string, Method>>();

/** The methods of a definition, by their names in handlers and clients. Cached for all clients. */
export function methodsOf(definition: Definition): ReadonlyMap<string, Method> {
  const methods = known.get(definition) ?? readMethods(definition);
  known.set(definition, methods);
  return methods;
}

function readMethods(definition: Definition): ReadonlyMap<string, Method> {
  return new Map(
    Object.entries(definition.methods).map(([name, method]) => {
      const { requestType, responseType } = method;
      return [
        name,
        {
          path: `/${definition.fullName}/${method.name}`,
          requestStream: method.requestStream,
          responseStream: method.responseStream,
          options: method.options,
          requestSerialize: (value) => requestType.encode(requestType.fromPartial?.(value) ?? value).finish(),
          requestDeserialize: (bytes) => requestType.decode(bytes),
          responseSerialize: (value) => responseType.encode(responseType.fromPartial?.(value) ?? value).finish(),
          responseDeserialize: (bytes) => responseType.decode(bytes),
          requestCopy: copier(requestType),
          responseCopy: copier(responseType),
        } satisfies Method,
      ];
    }),
  );
}

type Codec = Definition['methods'][string]['requestType'];

/** Copies a message with defaults and without shared objects, as encoding and decoding would. */
const copier = (type: Codec): ((value: unknown) => unknown) => {
  const { fromPartial } = type;
  return fromPartial
    ? (value) => ownBytes(fromPartial.call(type, value))
    : (value) => type.decode(type.encode(value).finish());
};

/** Path → who may call it, of several services. */
export const rulesOf = (services: readonly BoundService[]): ReadonlyMap<string, Rule<unknown>> =>
  new Map(services.flatMap(({ rules }) => [...rules]));
