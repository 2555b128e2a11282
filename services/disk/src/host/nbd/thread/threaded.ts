import { Worker } from 'node:worker_threads';
import type { Certificates } from '@interlock/rpc';
import type { Clock, Logger, Renewed } from '@interlock/runtime';
import type { SessionIo } from '../../data/session-io.ts';
import type { ThreadGate } from '../../keys/thread-gate.ts';
import { pieceSize } from '../../storage/sector.ts';
import { type NbdAddress, nbdAddressText } from '../address.ts';
import type { NbdServer, NbdServerParts } from '../door.ts';
import { exportOver, type SessionExport } from '../export.ts';
import { type ExportId, free, type HostCalls, type ThreadCalls, type ThreadSettings } from './calls.ts';
import { link, type Port, type Remote } from './link.ts';

/** How long a permission of a `ThreadGate` lasts at most, and how often it is renewed while the disk is used, in milliseconds. */
const permission = { lastsMs: 100, renewedMs: 40 } as const;

/** Room for objects of requests in MiB: they are short-lived, and a larger one only takes memory. Data is outside of it. */
const resourceLimits = { maxYoungGenerationSizeMb: 8 } as const;

/**
 * Serves open disks as network block devices from a thread of its own.
 * @param tls certificates of this host; its clients need one of `clientCa`, otherwise of `ca`
 * @param pathOf file of a volume's sectors
 * @throws Error if `tls` is plain text and the address is TCP
 */
export const threadedNbdServer = (
  address: NbdAddress,
  options: {
    readonly tls: Renewed<Certificates> | 'plaintext';
    /** Address for clients, if it differs from the one it listens on. */
    readonly advertised: string | undefined;
    /** Id of a group whose processes may connect to a Unix socket too. */
    readonly socketGroup: number | undefined;
    readonly pathOf: (volumeId: string) => string;
  },
): NbdServer => {
  const { tls, advertised, socketGroup, pathOf } = options;
  const listen = nbdAddressText(address);
  return {
    address: advertised ?? listen,
    isThreaded: true,
    async start(parts) {
      const workerData: ThreadSettings = { listen, isPlaintext: tls === 'plaintext', socketGroup };
      const worker = new Worker(new URL('./data-thread.ts', import.meta.url), { workerData, resourceLimits });
      // A defect in the thread ends the process, as one in this thread does.
      worker.on('error', (error) => {
        throw error;
      });
      const certificates = (): Certificates => {
        if (tls === 'plaintext') throw new Error('this host has no certificates');
        return tls.current();
      };
      const { thread, close } = new ThreadHost(worker, { ...parts, certificates, pathOf });
      await thread.start();
      return async () => {
        close();
        await thread.stop();
        await worker.terminate();
      };
    },
  };
};

/** An export that the data thread serves. */
interface Served {
  readonly opened: SessionExport;
  /** The gate that the thread has. */
  gate: ThreadGate | undefined;
  /** Listens to the end of the access. */
  readonly onEnded: () => void;
}

/** The side of the service: performs what the data thread cannot do at once, and renews its permissions. */
class ThreadHost {
  readonly thread: Remote<ThreadCalls>;
  readonly #exports: NbdServerParts['exports'];
  readonly #io: SessionIo;
  readonly #clock: Pick<Clock, 'alarm'>;
  readonly #log: Logger;
  readonly #pathOf: (volumeId: string) => string;
  readonly #served = new Map<ExportId, Served>();
  #lastId = 0;
  #isRenewing = false;
  #isClosed = false;

  constructor(
    port: Port,
    parts: NbdServerParts & {
      readonly certificates: () => Certificates;
      readonly pathOf: (volumeId: string) => string;
    },
  ) {
    this.#exports = parts.exports;
    this.#io = parts.io;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#pathOf = parts.pathOf;
    const calls: HostCalls = {
      open: (name, token) => this.#open(name, token),
      names: () => this.#exports.names(),
      read: (id, offset, length) => this.#perform(id, (opened) => readWhole(opened, offset, length)),
      write: (id, offset, bytes) =>
        this.#perform(id, (opened) => opened.write(offset, bytes)).finally(() => free(bytes)),
      discard: (id, offset, length) => this.#perform(id, (opened) => opened.discard(offset, length)),
      extents: (id, offset, length) => this.#perform(id, (opened) => opened.extents(offset, length)),
      flush: (id) => this.#perform(id, (opened) => opened.flush()),
      confirm: (id) => this.#perform(id, async (opened) => opened.confirm()),
      release: (id) => this.#release(id),
      certificates: parts.certificates,
      logError: (message, fields) => this.#log.error(message, fields),
    };
    this.thread = link<ThreadCalls>(port, calls);
  }

  /** Renews no permission any more. */
  readonly close = (): void => {
    this.#isClosed = true;
  };

  async #open(name: string, token: string) {
    const opened = await this.#exports.open(name, token);
    if (opened.ending.aborted) {
      opened.release();
      throw exportOver(name);
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const onEnded = (): void => {
      opened.release();
      this.#served.delete(id);
      void this.thread.end(id);
    };
    this.#served.set(id, { opened, gate: undefined, onEnded });
    opened.ending.addEventListener('abort', onEnded, { once: true });
    this.#renewLater();
    const { volumeId, isLayered } = opened.session;
    const path = isLayered ? undefined : this.#pathOf(volumeId);
    return { id, size: opened.size(), isReadOnly: opened.isReadOnly, path };
  }

  #release(id: ExportId): void {
    const served = this.#served.get(id);
    // The session outlives its connections: each would leave a listener.
    served?.opened.ending.removeEventListener('abort', served.onEnded);
    served?.opened.release();
    this.#served.delete(id);
  }

  async #perform<Result>(id: ExportId, work: (opened: SessionExport) => Promise<Result>): Promise<Result> {
    const served = this.#served.get(id);
    if (served === undefined) throw exportOver('this disk');
    const result = await work(served.opened);
    void this.#permit(id, served);
    return result;
  }

  /** Lets the thread use the disk for a moment, if it may be used at all. */
  async #permit(id: ExportId, served: Served): Promise<void> {
    const { session } = served.opened;
    const gate = session.disk.threadGate;
    if (gate === undefined) return;
    if (served.gate !== gate) {
      served.gate = gate;
      void this.thread.permit(id, gate.memory);
      void gate.revoked.then(() => this.thread.drop(id));
    }
    try {
      const usableMs = await this.#io.usableMs(session);
      if (usableMs > 0) gate.allow(Math.min(usableMs, permission.lastsMs));
    } catch {
      // The next read or write is checked by this thread, and receives the reason.
    }
  }

  /** One alarm for all exports, while there are any. */
  #renewLater(): void {
    if (this.#isRenewing || this.#isClosed) return;
    this.#isRenewing = true;
    this.#clock.alarm(permission.renewedMs, () => {
      this.#isRenewing = false;
      for (const [id, served] of this.#served) if (served.gate?.wasUsed()) void this.#permit(id, served);
      if (this.#served.size > 0) this.#renewLater();
    });
  }
}

/** At most a piece. */
const readWhole = async (opened: SessionExport, offset: number, length: number): Promise<Uint8Array> => {
  const bytes = new Uint8Array(length);
  let at = 0;
  const allocate = (part: number): Uint8Array => bytes.subarray(at, at + part);
  for await (const part of opened.read(offset, length, { bytesMax: pieceSize, allocate })) at += part.length;
  return bytes;
};
