import { type CallContext, ServerError, Status } from 'nice-grpc-common';

const asTheyAre = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

/** gRPC's reflection service (`grpc.reflection.v1`), with messages as bytes: {@link reflectionOf} decodes and encodes them. */
export const reflectionDefinition = {
  serverReflectionInfo: {
    path: '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    requestStream: true,
    responseStream: true,
    requestSerialize: asTheyAre,
    requestDeserialize: asTheyAre,
    responseSerialize: asTheyAre,
    responseDeserialize: asTheyAre,
  },
} as const;

/**
 * Answers reflection. Its library is loaded and the descriptors are read at the first call: that takes some 80 ms of a processor, which
 * every start would pay for the few callers of reflection.
 * @param descriptors encoded google.protobuf.FileDescriptorSet
 * @param names of the services to list
 */
export const reflectionOf = (descriptors: Uint8Array, names: readonly string[]) => {
  let opened: ReturnType<typeof open> | undefined;
  return {
    async *serverReflectionInfo(requests: AsyncIterable<Buffer>, context: CallContext) {
      opened ??= open(descriptors, names);
      const { service, decode, encode } = await opened;
      for await (const answer of service.serverReflectionInfo(decoded(requests, decode), context)) yield encode(answer);
    },
  };
};

const open = async (descriptors: Uint8Array, names: readonly string[]) => {
  const { ServerReflection, ServerReflectionService } = await import('nice-grpc-server-reflection');
  const { requestDeserialize, responseSerialize } = ServerReflectionService.serverReflectionInfo;
  return { service: ServerReflection(descriptors, names), decode: requestDeserialize, encode: responseSerialize };
};

/** @throws ServerError INVALID_ARGUMENT for bytes that cannot be decoded */
async function* decoded<Request>(requests: AsyncIterable<Buffer>, decode: (bytes: Buffer) => Request) {
  for await (const bytes of requests) {
    try {
      yield decode(bytes);
    } catch (error) {
      const message = `the bytes are not a ServerReflectionRequest: ${error instanceof Error ? error.message : error}`;
      throw new ServerError(Status.INVALID_ARGUMENT, message);
    }
  }
}
