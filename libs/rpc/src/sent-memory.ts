import { channel } from 'node:diagnostics_channel';
import type { ServerHttp2Stream } from 'node:http2';

/**
 * Smallest message whose memory is released. Smaller ones share memory, or cost the garbage collector almost nothing.
 */
const largeBytes = 32 * 1024;

/**
 * Releases the memory of large messages as soon as they are sent, in every HTTP/2 server of this process. Idempotent.
 *
 * gRPC copies each message into a buffer of its own, with a prefix, and drops it. That memory is outside of V8's heap, but V8 of
 * Node 24 counts it against the heap limit. Without the release, it collected the whole heap of the disk service for every 16 MiB
 * read, on both cores: more than half of the processor time of a read.
 *
 * Detaches only a buffer that fills its memory, so that no other data is lost, and only after it was sent without an error:
 * until then the session may still hold a part of it.
 */
export const releaseSentMemory = (): void => {
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
  // With an encoding as the second argument, the chunk is a text.
  if (!isAlone || rest.length > 1 || (onWritten !== undefined && typeof onWritten !== 'function')) {
    return write.call(this, chunk, ...rest);
  }
  return write.call(this, chunk, (error: Error | null | undefined) => {
    if (!error) memory.transfer(0);
    (onWritten as Written | undefined)?.(error);
  });
}
