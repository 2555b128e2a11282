import { channel } from 'node:diagnostics_channel';
import type { ServerHttp2Stream } from 'node:http2';

/**
 * From so many bytes on a message is worth the trouble. Smaller ones share memory, or cost the collector next to nothing.
 */
const largeBytes = 32 * 1024;

/**
 * Gives the memory of large messages back as soon as they are sent, in every HTTP/2 server of this process. May be called again.
 *
 * gRPC copies each message it sends into a buffer of its own, with a prefix, and forgets it. That is memory outside of V8's heap,
 * which V8 of Node 24 counts against the limit of the heap: it looked through everything the disk service holds for every 16 MiB
 * that were read, on both cores, for more than half of the processor time of a read.
 *
 * Detaches only a buffer that fills its memory, so that no other data is lost, and only after it was sent without an error:
 * until then the session may still hold a part of it.
 */
export const giveSentMemoryBack = (): void => {
  if (isSet) return;
  isSet = true;
  channel('http2.server.stream.created').subscribe((message) => {
    const { stream } = message as { readonly stream: ServerHttp2Stream };
    stream.write = writeAndGiveBack;
  });
};
let isSet = false;

type Written = (error: Error | null | undefined) => void;

/** `Writable.write`, of the stream it is called on. */
function writeAndGiveBack(this: ServerHttp2Stream, chunk: unknown, ...rest: readonly unknown[]): boolean {
  const write = Object.getPrototypeOf(this).write as (this: ServerHttp2Stream, ...args: readonly unknown[]) => boolean;
  const [onWritten] = rest;
  const memory = chunk instanceof Uint8Array && chunk.byteLength >= largeBytes ? chunk.buffer : undefined;
  const isAlone = memory instanceof ArrayBuffer && memory.byteLength === (chunk as Uint8Array).byteLength;
  // With an encoding between them it is a text.
  if (!isAlone || rest.length > 1 || (onWritten !== undefined && typeof onWritten !== 'function')) {
    return write.call(this, chunk, ...rest);
  }
  return write.call(this, chunk, (error: Error | null | undefined) => {
    if (!error) memory.transfer(0);
    (onWritten as Written | undefined)?.(error);
  });
}
