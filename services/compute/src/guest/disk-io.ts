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
import { refusedIn } from './error-reason.ts';
import { Whereabouts } from './whereabouts.ts';

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
  /** A reason of the disk service, or the name of the status without one. */
  readonly reason: string;
  constructor(reason: string, options?: ErrorOptions) {
    super(`disk I/O failed: ${reason}`, options);
    this.reason = reason;
  }
}

/** Another host has the disk. */
export class DiskMoved extends IoError {
  /** `host:port` of its DiskDataService. */
  readonly address: string;
  constructor(address: string, cause: unknown) {
    super('DISK_NOT_HERE', { cause });
    this.address = address;
  }
}

/** The connection ended before the host answered. */
class ConnectionEnded extends IoError {
  constructor(cause: unknown) {
    super('UNAVAILABLE', { cause });
  }
}

const service = '/interlock.disk.v1.DiskDataService';
/** Default of the longest single read, write or flush, in milliseconds: an operation invoked before a key is lost has ended by then. */
export const ioTimeoutDefaultMs = 5_000;

/** Longest time between two pings of a host that an operation waits for, in milliseconds. */
const silenceMsMax = 30_000;

/**
 * Options of the connection to a disk host. While an operation waits, the guest pings the host as often as an operation may
 * take, at least every 30 s. It reconnects if a ping is not answered for as long: a host that is gone closes no connection,
 * and TCP notices after a quarter of an hour.
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

/** How often a host that an operation waits for is looked up again, in milliseconds. */
const lookUpMs = 500;

/** An open disk as its calls need it. */
interface OpenDisk {
  readonly disk: GuestDisk;
  readonly clientOf: (address: string) => Client;
  readonly clock: Pick<Clock, 'now' | 'alarm' | 'sleep'>;
}

/** Where an open disk is, for all its operations. */
interface Place {
  /** `host:port` of the host that has it, as far as the guest knows. */
  address: string;
  readonly whereabouts: Whereabouts;
}

/** One try of an operation. */
interface Try extends OpenDisk {
  /** The connection that it uses. */
  readonly client: Client;
  /** When the operation fails, by the clock, whatever try it is. */
  readonly deadline: number;
  /** Whether another host has the disk by now. Called while the try waits. */
  readonly hasMoved: () => Promise<boolean>;
}

/** Limits and addresses of `diskIo`. */
export interface DiskIoOptions {
  /** Longest single read, write or flush, in milliseconds. */
  readonly timeoutMs?: number;
  /** `host:port` of each process of the disk service, which knows the host of a disk whose host does not answer. */
  readonly diskAddresses?: readonly string[];
}

/** Wait before an operation is sent again whose connection ended, in milliseconds. */
const resendMs = 50;

/**
 * Reads and writes of one open disk with the methods of grpc-js and nothing above it: a guest should be up as soon as its
 * process has loaded.
 * @param clientOf the connection to a process of disk at an address, `host:port`
 */
export const diskIo = (
  clientOf: (address: string) => Client,
  disk: GuestDisk,
  clock: OpenDisk['clock'],
  { timeoutMs = ioTimeoutDefaultMs, diskAddresses = [] }: DiskIoOptions = {},
): DiskIo => {
  const open: OpenDisk = { clientOf, disk, clock };
  const whereabouts = new Whereabouts((address, deadline) => ask(open, address, deadline), diskAddresses, clock);
  const place: Place = { address: disk.dataAddress, whereabouts };
  const insist = <Value>(signal: AbortSignal, attempt: (one: Try) => Promise<Value>) =>
    persistent(open, place, clock.now() + timeoutMs, signal, attempt);
  return {
    read: (offset, length, signal) => insist(signal, (one) => read(one, offset, length, signal)),
    write: (offset, data, signal) => insist(signal, (one) => write(one, offset, data, signal)),
    flush: (signal) => insist(signal, (one) => flush(one, signal)),
  };
};

/**
 * Repeats an operation until the host answers it or its time is over. `waitForReady` lets a call wait for its connection; a
 * call that was sent when the host was killed, fails with that connection. It may have been carried out: a repeated read,
 * write of the same bytes, or flush has the same result. What the host answers is repeated only if another host has the disk by now: it
 * was not carried out, and is repeated there.
 */
const persistent = async <Value>(
  open: OpenDisk,
  place: Place,
  deadline: number,
  signal: AbortSignal,
  attempt: (one: Try) => Promise<Value>,
): Promise<Value> => {
  for (;;) {
    const { address } = place;
    const hasMoved = async (): Promise<boolean> => {
      place.address = (await place.whereabouts.look()) ?? place.address;
      return place.address !== address;
    };
    try {
      return await attempt({ ...open, client: open.clientOf(address), deadline, hasMoved });
    } catch (error) {
      if (error instanceof DiskMoved) place.address = error.address;
      const isOver = signal.aborted || open.clock.now() + resendMs >= deadline;
      const mayPass = error instanceof ConnectionEnded || error instanceof DiskMoved || place.address !== address;
      if (isOver || !mayPass) throw error;
      // Also after a move: two hosts that name each other are not called without a pause.
      await open.clock.sleep(resendMs, signal);
    }
  }
};

/** Asks a process of the disk service who has the disk: a flush there is refused with the address, or is done if the disk is there. */
const ask = async (open: OpenDisk, address: string, deadline: number): Promise<string | undefined> => {
  const hasMoved = async (): Promise<boolean> => false;
  try {
    await flush({ ...open, client: open.clientOf(address), deadline, hasMoved }, new AbortController().signal);
    return address;
  } catch (error) {
    return error instanceof DiskMoved ? error.address : undefined;
  }
};

const read = (open: Try, offsetBytes: number, lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> => {
  return new Promise((resolve, reject) => {
    const call: ClientReadableStream<ReadResponse> = open.client.makeServerStreamRequest(
      `${service}/Read`,
      encode(ReadRequest),
      (bytes: Buffer) => ReadResponse.decode(bytes),
      { name: open.disk.disk, offsetBytes, lengthBytes },
      metadataOf(open),
      { deadline: open.deadline },
    );
    const pieces: Uint8Array[] = [];
    const stop = watch(open, call, signal);
    call.on('data', ({ data }: ReadResponse) => pieces.push(data));
    call.on('error', (error: ServiceError) => {
      stop();
      reject(ioError(error));
    });
    call.on('end', () => {
      stop();
      resolve(Buffer.concat(pieces));
    });
  });
};

const write = (open: Try, offsetBytes: number, data: Uint8Array, signal: AbortSignal): Promise<void> => {
  return answered(open, signal, (done) => {
    const call = open.client.makeClientStreamRequest(
      `${service}/Write`,
      encode(WriteRequest),
      (bytes: Buffer) => WriteResponse.decode(bytes),
      metadataOf(open),
      { deadline: open.deadline },
      done,
    );
    // The callback has the failure already; the stream emits it again.
    call.on('error', () => undefined);
    call.write({ header: { name: open.disk.disk, offsetBytes }, data });
    call.end();
    return call;
  });
};

const flush = (open: Try, signal: AbortSignal): Promise<void> => {
  return answered(open, signal, (done) =>
    open.client.makeUnaryRequest(
      `${service}/Flush`,
      encode(FlushRequest),
      (bytes: Buffer) => FlushResponse.decode(bytes),
      { name: open.disk.disk },
      metadataOf(open),
      { deadline: open.deadline },
      done,
    ),
  );
};

/** Sends a call and resolves with its response. */
const answered = (
  open: Try,
  signal: AbortSignal,
  send: (done: (error: ServiceError | null) => void) => { cancel(): void },
): Promise<void> => {
  return new Promise((resolve, reject) => {
    const call = send((error) => {
      stop();
      if (error) reject(ioError(error));
      else resolve();
    });
    const stop = watch(open, call, signal);
  });
};

const metadataOf = (open: Try): Metadata => {
  // A call waits for an unreachable host until its deadline, as a kernel waits for its disk: a restart of the host is a slow
  // operation, not a failed one.
  const entries = new Metadata({ waitForReady: true });
  entries.set('x-interlock-disk-access', open.disk.accessToken);
  entries.set('x-interlock-timeout-ms', String(Math.max(1, open.deadline - open.clock.now())));
  return entries;
};

/**
 * Cancels a call with the signal, and keeps looking up the host while the call waits. grpc-js looks a host up again when an
 * attempt to connect fails. A replaced pod may have no name for a moment, and its old address may drop what is sent there:
 * then no attempt fails for minutes. Each look at the connectivity state starts another lookup. A call to a host that does not have the
 * disk any more is cancelled too.
 * @returns ends all of it
 */
const watch = (open: Try, call: { cancel(): void }, signal: AbortSignal): (() => void) => {
  const cancel = (): void => call.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const look = (): void => {
    open.client.getChannel().getConnectivityState(true);
    void open.hasMoved().then((hasMoved) => {
      if (hasMoved) call.cancel();
    });
    next = open.clock.alarm(lookUpMs, look);
  };
  let next = open.clock.alarm(lookUpMs, look);
  return () => {
    signal.removeEventListener('abort', cancel);
    next.cancel();
  };
};

const encode =
  <Message>(codec: { encode(message: Message): { finish(): Uint8Array } }) =>
  (message: Message): Buffer =>
    Buffer.from(codec.encode(message).finish());

const ioError = (error: ServiceError): IoError => {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const refused = details instanceof Uint8Array ? refusedIn(details) : undefined;
  if (refused === undefined && error.code === status.UNAVAILABLE) return new ConnectionEnded(error);
  const address = refused?.reason === 'DISK_NOT_HERE' ? refused.metadata.get('data_address') : undefined;
  if (address !== undefined) return new DiskMoved(address, error);
  return new IoError(refused?.reason ?? status[error.code] ?? 'UNKNOWN', { cause: error });
};
