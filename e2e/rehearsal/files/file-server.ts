import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Search } from '../../canary/places.ts';
import { searchFolder, type WantedVolume } from './host-files.ts';
import { findVolumes, type Volume } from './volume.ts';

/** PEM texts of one end of a connection between a rehearsal and the files of a host. */
export interface FilesTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The name in the certificate of both ends: `interlock-tls-client`. */
export const filesName = 'interlock-client';

/** A request of a rehearsal. Bytes are base64. */
export type FilesRequest =
  | { readonly volumes: readonly WantedVolume[] }
  | { readonly search: readonly { readonly name: string; readonly bytes: string }[] };

/** A volume in a reply. Bytes are base64; those of a range in the order of the request. */
export interface SentVolume extends Omit<Volume, 'raw' | 'header' | 'dataFile'> {
  readonly header: Omit<Volume['header'], 'wrapped'> & { readonly wrapped: string };
  readonly ranges: readonly string[];
}

/** The reply: volumes by disk id, or the result of the search. */
export type FilesReply = { readonly volumes: Readonly<Record<string, SentVolume>> } | { readonly search: Search };

/** Longest request: the places of 100,000 records. */
const requestBytesMax = 8 * 1024 * 1024;
/** Most bytes of all ranges of a request. */
const rangesBytesMax = 128 * 1024 * 1024;
const connectionsMax = 4;
const requestMs = 60_000;

/**
 * Serves the files of a host to a rehearsal: it runs beside the host, with its volume mounted for reading. Only a caller with the
 * client certificate of the cloud is served.
 * @param folder the mounted volume
 * @param port 0 for any
 * @returns its port, and how to stop it
 */
export const startFileServer = async (
  folder: string,
  port: number,
  tls: FilesTls,
): Promise<{ readonly port: number; readonly stop: () => Promise<void> }> => {
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (request, response) => {
    const end = (status: number, text: string): void => {
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(text);
    };
    const { subjectaltname = '' } = (request.socket as TLSSocket).getPeerCertificate();
    if (!subjectaltname.split(', ').includes(`DNS:${filesName}`)) return end(403, `only ${filesName} may read files`);
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= requestBytesMax) chunks.push(chunk);
    });
    request.on('error', () => response.destroy());
    request.on('end', async () => {
      if (bytes > requestBytesMax) return end(413, `a request may have ${requestBytesMax} bytes (got ${bytes})`);
      try {
        end(200, JSON.stringify(await replyTo(folder, JSON.parse(Buffer.concat(chunks).toString('utf8')))));
      } catch (error) {
        end(500, error instanceof Error ? error.message : String(error));
      }
    });
  });
  server.maxConnections = connectionsMax;
  server.requestTimeout = requestMs;
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, resolve));
  return { port: (server.address() as AddressInfo).port, stop: () => stopped(server) };
};

const stopped = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

const replyTo = async (folder: string, request: FilesRequest): Promise<FilesReply> => {
  if ('search' in request) {
    const secrets = request.search.map(({ name, bytes }) => ({ name, bytes: Buffer.from(bytes, 'base64') }));
    return { search: await searchFolder(folder, secrets) };
  }
  const total = request.volumes.flatMap(({ ranges }) => ranges).reduce((sum, { length }) => sum + length, 0);
  if (!(total <= rangesBytesMax)) throw new Error(`ranges may have ${rangesBytesMax} bytes (got ${total})`);
  const found = findVolumes(folder);
  const volumes = request.volumes.flatMap(({ id, ranges }): [string, SentVolume][] => {
    const volume = found.get(id);
    return volume === undefined ? [] : [[id, sentVolume(volume, ranges)]];
  });
  return { volumes: Object.fromEntries(volumes) };
};

const sentVolume = ({ header, slots, allocatedBytes, raw }: Volume, ranges: WantedVolume['ranges']): SentVolume => ({
  header: { ...header, wrapped: header.wrapped.toString('base64') },
  slots,
  allocatedBytes,
  ranges: ranges.map(({ offset, length }) => raw(offset, length).toString('base64')),
});
