import type { Attributes } from '@opentelemetry/api';

/** Attributes of the OpenTelemetry semantic conventions for RPC (1.45), which are not yet in the stable part of their package. */
export const RpcAttribute = {
  system: 'rpc.system.name',
  /** `package.Service/Method`. */
  method: 'rpc.method',
  /** Canonical name of the gRPC status. */
  status: 'rpc.status_code',
  /** The same for a call that failed. */
  error: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  clientAddress: 'client.address',
  clientPort: 'client.port',
} as const;

const ofMethods = new Map<string, Attributes>();

/**
 * Attributes of a call to a method (`package.Service/Method`), and further ones. Copied from cached attributes of the method: an
 * object literal with computed keys is slow.
 */
export const attributesOfCall = (method: string, more: Attributes): Attributes => {
  let base = ofMethods.get(method);
  if (!base) {
    base = { [RpcAttribute.system]: 'grpc', [RpcAttribute.method]: method };
    ofMethods.set(method, base);
  }
  return { ...base, ...more };
};

/** Host and port of `host:port`; without a port, and for port 0, the whole is the host. */
const placeIn = (address: string): { readonly host: string; readonly port: number | undefined } => {
  const [, host = address, port = '0'] = /^\[?([^\]]*)\]?:(\d+)$/.exec(address) ?? [];
  return { host, port: Number(port) || undefined };
};

const ofServers = new Map<string, Attributes>();

/** Attributes of a server by its address, `host:port`. Replicas (`host:port,host:port`) are the host of the first; they have a port if it is the same for all. */
export const serverAttributes = (address: string): Attributes => {
  let known = ofServers.get(address);
  if (known === undefined) {
    const places = address.split(',').map(placeIn);
    const [first = { host: address, port: undefined }] = places;
    known = { [RpcAttribute.serverAddress]: first.host };
    if (first.port !== undefined && places.every(({ port }) => port === first.port))
      known[RpcAttribute.serverPort] = first.port;
    ofServers.set(address, known);
  }
  return known;
};

const ofClients = new Map<string, Attributes>();
/** More connections than most servers have at a time. */
const CLIENTS_MAX = 1_000;

/** Attributes of a client by the other end of its connection, `host:port`. */
export const clientAttributes = (peer: string): Attributes => {
  let known = ofClients.get(peer);
  if (known === undefined) {
    const { host, port } = placeIn(peer);
    known = { [RpcAttribute.clientAddress]: host };
    if (port !== undefined) known[RpcAttribute.clientPort] = port;
    if (ofClients.size === CLIENTS_MAX) ofClients.clear();
    ofClients.set(peer, known);
  }
  return known;
};
