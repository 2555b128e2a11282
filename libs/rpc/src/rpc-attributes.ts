import type { Attributes } from '@opentelemetry/api';

/** Span attributes of the OpenTelemetry semantic conventions for RPC (1.45), which are not yet in the stable part of their package. */
export const RpcAttribute = {
  system: 'rpc.system.name',
  /** `package.Service/Method`. */
  method: 'rpc.method',
  /** Canonical name of the gRPC status. */
  status: 'rpc.response.status_code',
  /** The same for a call that failed. */
  error: 'error.type',
  serverAddress: 'server.address',
  clientAddress: 'client.address',
} as const;

const known = new Map<string, Attributes>();

/**
 * Attributes of a call to a method (`package.Service/Method`), and one more. Put together from what is kept of each method:
 * a literal with keys that are looked up is made key by key in the runtime.
 */
export const attributesOfCall = (
  method: string,
  name: (typeof RpcAttribute)[keyof typeof RpcAttribute],
  value: string,
): Attributes => {
  let base = known.get(method);
  if (!base) {
    base = { [RpcAttribute.system]: 'grpc', [RpcAttribute.method]: method };
    known.set(method, base);
  }
  const attributes: Attributes = { ...base };
  attributes[name] = value;
  return attributes;
};
