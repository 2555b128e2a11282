import type { Certificates } from '@interlock/rpc';
import type { Extent } from '../export.ts';

/** Number of an export, while its connection lasts. */
export type ExportId = number;

/** An export as the data thread begins it. */
export interface OpenedExport {
  readonly id: ExportId;
  /** Bytes. */
  readonly size: number;
  readonly isReadOnly: boolean;
  /** File of its sectors; undefined if the data thread must not touch it: what lies there is encrypted twice. */
  readonly path: string | undefined;
}

/** What the thread of the service does for the data thread. Errors are those of `Export`. */
export type HostCalls = {
  open(name: string, token: string): Promise<OpenedExport>;
  names(): Promise<readonly string[]>;
  /** At most 1 MiB. */
  read(id: ExportId, offset: number, length: number): Promise<Uint8Array>;
  write(id: ExportId, offset: number, bytes: Uint8Array): Promise<void>;
  discard(id: ExportId, offset: number, length: number): Promise<void>;
  extents(id: ExportId, offset: number, length: number): Promise<readonly Extent[]>;
  flush(id: ExportId): Promise<void>;
  confirm(id: ExportId): Promise<void>;
  release(id: ExportId): void;
  certificates(): Certificates;
  logError(message: string, fields: { readonly [field: string]: string }): void;
};

/** What the data thread does for the thread of the service. */
export type ThreadCalls = {
  /** Listens. @throws Error if it cannot */
  start(): Promise<void>;
  /** The DEK of an export can be used through this memory (`ThreadGate`). */
  permit(id: ExportId, memory: SharedArrayBuffer): void;
  /** The DEK of an export was dropped: everything made from it is destroyed. */
  drop(id: ExportId): void;
  /** The access of an export has ended: its connection ends. */
  end(id: ExportId): void;
  /** Ends every connection and stops to listen. */
  stop(): Promise<void>;
};

/** What the data thread starts with. */
export interface ThreadSettings {
  /** As `parseNbdAddress` reads it. */
  readonly listen: string;
  readonly isPlaintext: boolean;
  readonly socketGroup: number | undefined;
}

/** Frees the memory of bytes that the other thread sent. The garbage collector would let hundreds of MiB of them wait. */
export const free = ({ buffer }: Uint8Array): void => {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
};
