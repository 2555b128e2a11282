/** Span attributes of the OpenTelemetry semantic conventions for RPC (1.45), which are not yet in the stable part of their package. */
export const RpcAttribute = {
  system: 'rpc.system.name',
  /** `package.Service/Method`. */
  method: 'rpc.method',
  /** Canonical name of the gRPC status. */
  status: 'rpc.response.status_code',
  serverAddress: 'server.address',
  clientAddress: 'client.address',
} as const;
