import {
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import {
  FlushRequest,
  FlushResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '@interlock/contracts/interlock/disk/v1/data.ts';
import type { Clock } from '@interlock/runtime';
import type { GuestDisk } from '../guests/vm-host.ts';
import { reasonIn } from './error-reason.ts';

/** Reads and writes of one open disk. Each throws `IoError`. */
export interface DiskIo {
  read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array>;
  write(offset: number, data: Uint8Array, signal: AbortSignal): Promise<void>;
  /** Resolves once everything acknowledged is on stable storage. */
  flush(signal: AbortSignal): Promise<void>;
}

/** A read, write or flush failed. */
export class IoError extends Error {
  override readonly name = 'IoError';
  /** A reason of the disk service, or the name of the status where it gave none. */
  readonly reason: string;
  constructor(reason: string, options?: ErrorOptions) {
    super(`disk I/O failed: ${reason}`, options);
    this.reason = reason;
  }
}

const service = '/interlock.disk.v1.DiskDataService';
/** Longest single read, write or flush, in milliseconds, where nothing else is said: what is invoked before a key is lost has ended by then. */
export const ioTimeoutDefaultMs = 5_000;

/** Longest time between two pings of a host that something waits for, in milliseconds. */
const silenceMsMax = 30_000;

/**
 * How the connection to a disk host is kept. While something waits for the host, it is asked by a ping as often as an operation
 * may take, and at least every 30 s. A host that does not answer a ping for as long is connected to again: a machine that is gone
 * ends no connection, and TCP notices after a quarter of an hour.
 * @param timeoutMs longest single read, write or flush
 */
export const connectionOptions = (timeoutMs = ioTimeoutDefaultMs): ClientOptions => ({
  // A disk host that restarts must be found again within a lease.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.dns_min_time_between_resolutions_ms': 500,
  'grpc.keepalive_time_ms': Math.min(timeoutMs, silenceMsMax),
  'grpc.keepalive_timeout_ms': Math.min(timeoutMs, silenceMsMax),
});

/** How often a host that something waits for is looked up anew, in milliseconds. */
const lookUpMs = 500;

/**
 * The methods of grpc-js and nothing above it: a guest should be up within the time a process needs to load.
 * @param timeoutMs longest single read, write or flush
 */
export const diskIo = (
  client: Client,
  { disk, accessToken }: GuestDisk,
  clock: Pick<Clock, 'now' | 'alarm'>,
  timeoutMs = ioTimeoutDefaultMs,
): DiskIo => {
  const metadata = (): Metadata => {
    // A host that cannot be reached for a moment is waited for until the deadline, as a kernel waits for its disk: a restart of
    // the host is then a slow operation and no failed one. What the host answers is never repeated.
    const entries = new Metadata({ waitForReady: true });
    entries.set('x-interlock-disk-access', accessToken);
    entries.set('x-interlock-timeout-ms', String(timeoutMs));
    return entries;
  };
  const options = () => ({ deadline: clock.now() + timeoutMs });
  /**
   * Cancels a call with the signal, and looks after the channel while the call waits. grpc-js looks a host up again when an
   * attempt to connect has failed. A pod that was replaced may have no name for a moment, and its old address may swallow what
   * is sent there: then no attempt fails for minutes. Each wish to connect has it look again.
   * @returns ends both
   */
  const watch = (call: { cancel(): void }, signal: AbortSignal): (() => void) => {
    const cancel = (): void => call.cancel();
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    const look = (): void => {
      client.getChannel().getConnectivityState(true);
      next = clock.alarm(lookUpMs, look);
    };
    let next = clock.alarm(lookUpMs, look);
    return () => {
      signal.removeEventListener('abort', cancel);
      next.cancel();
    };
  };
  const encode =
    <Message>(codec: { encode(message: Message): { finish(): Uint8Array } }) =>
    (message: Message): Buffer =>
      Buffer.from(codec.encode(message).finish());

  return {
    read: (offsetBytes, lengthBytes, signal) =>
      new Promise((resolve, reject) => {
        const call: ClientReadableStream<ReadResponse> = client.makeServerStreamRequest(
          `${service}/Read`,
          encode(ReadRequest),
          (bytes: Buffer) => ReadResponse.decode(bytes),
          { name: disk, offsetBytes, lengthBytes },
          metadata(),
          options(),
        );
        const pieces: Uint8Array[] = [];
        const stop = watch(call, signal);
        call.on('data', ({ data }: ReadResponse) => pieces.push(data));
        call.on('error', (error: ServiceError) => {
          stop();
          reject(ioError(error));
        });
        call.on('end', () => {
          stop();
          resolve(Buffer.concat(pieces));
        });
      }),
    write: (offsetBytes, data, signal) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          `${service}/Write`,
          encode(WriteRequest),
          (bytes: Buffer) => WriteResponse.decode(bytes),
          metadata(),
          options(),
          (error: ServiceError | null) => {
            stop();
            if (error) reject(ioError(error));
            else resolve();
          },
        );
        const stop = watch(call, signal);
        // The callback above tells of the failure; the stream says it a second time.
        call.on('error', () => undefined);
        call.write({ header: { name: disk, offsetBytes }, data });
        call.end();
      }),
    flush: (signal) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          `${service}/Flush`,
          encode(FlushRequest),
          (bytes: Buffer) => FlushResponse.decode(bytes),
          { name: disk },
          metadata(),
          options(),
          (error: ServiceError | null) => {
            stop();
            if (error) reject(ioError(error));
            else resolve();
          },
        );
        const stop = watch(call, signal);
      }),
  };
};

const ioError = (error: ServiceError): IoError => {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const reason = details instanceof Uint8Array ? reasonIn(details) : undefined;
  return new IoError(reason ?? status[error.code] ?? 'UNKNOWN', { cause: error });
};
