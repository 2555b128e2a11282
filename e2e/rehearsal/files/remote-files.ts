import { request } from 'node:https';
import { systemClock } from '@interlock/runtime';
import type { Search } from '../../canary/places.ts';
import { type FilesReply, type FilesRequest, type FilesTls, filesName, type SentVolume } from './file-server.ts';
import type { HostFiles, WantedVolume } from './host-files.ts';
import type { Volume } from './volume.ts';

/** How long the pods beside the hosts may take to start, and how long one reply may take, in milliseconds. */
const startMs = 120_000;
const replyMs = 60_000;
const againMs = 500;

/** Where the file servers beside the hosts of a cluster are: `host:port`. */
export interface FilesAddresses {
  readonly disk: string;
  readonly compute: string;
}

/**
 * The files of the hosts of a cluster, through the file servers beside them (file-server.ts).
 * @param own searches files of this process, too
 */
export const remoteFiles = (addresses: FilesAddresses, tls: FilesTls, own: Pick<HostFiles, 'search'>): HostFiles => ({
  async volumes(wanted) {
    const reply = await replyOf(addresses.disk, tls, { volumes: wanted });
    if (!('volumes' in reply)) throw new Error(`${addresses.disk} sent no volumes`);
    return new Map(
      wanted.flatMap(({ id, ranges }): [string, Volume][] => {
        const sent = reply.volumes[id];
        return sent === undefined ? [] : [[id, volumeOf(id, sent, ranges)]];
      }),
    );
  },
  async search(secrets) {
    const search = secrets.map(({ name, bytes }) => ({ name, bytes: Buffer.from(bytes).toString('base64') }));
    const found = await Promise.all([
      own.search(secrets),
      ...Object.entries(addresses).map(async ([service, address]): Promise<Search> => {
        const reply = await replyOf(address, tls, { search });
        if (!('search' in reply)) throw new Error(`${address} did not search`);
        const leaks = reply.search.leaks.map((leak) => ({ ...leak, place: `${service}: ${leak.place}` }));
        return { ...reply.search, leaks };
      }),
    ]);
    return {
      places: found.reduce((sum, { places }) => sum + places, 0),
      bytes: found.reduce((sum, { bytes }) => sum + bytes, 0),
      leaks: found.flatMap(({ leaks }) => leaks),
    };
  },
});

const volumeOf = (id: string, { header, ranges, ...sent }: SentVolume, wanted: WantedVolume['ranges']): Volume => {
  const keyOf = (offset: number, length: number): string => `${offset} ${length}`;
  const bytes = new Map(wanted.map(({ offset, length }, n) => [keyOf(offset, length), ranges[n] ?? '']));
  return {
    ...sent,
    dataFile: '',
    header: { ...header, wrapped: Buffer.from(header.wrapped, 'base64') },
    raw(offset, length) {
      const found = bytes.get(keyOf(offset, length));
      if (found === undefined) throw new Error(`${length} bytes at ${offset} of disk ${id} were not fetched`);
      return Buffer.from(found, 'base64');
    },
  };
};

/** Calls until the server is there: its pod may start later than this one. */
const replyOf = async (address: string, tls: FilesTls, body: FilesRequest): Promise<FilesReply> => {
  const endMs = systemClock.monotonicMs() + startMs;
  for (;;) {
    try {
      return await send(address, tls, JSON.stringify(body));
    } catch (error) {
      if (!isAbsent(error) || systemClock.monotonicMs() >= endMs)
        throw new Error(`the files of a host cannot be read at ${address}: is the pod beside it running?`, {
          cause: error,
        });
      await systemClock.sleep(againMs);
    }
  }
};

const isAbsent = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)$/.test(String(error.code));

const send = (address: string, tls: FilesTls, body: string): Promise<FilesReply> =>
  new Promise((resolve, reject) => {
    const [host, port] = address.split(':');
    const options = { host, port, method: 'POST', agent: false, servername: filesName, ...tls };
    const sent = request({ ...options, signal: AbortSignal.timeout(replyMs) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${address} responded with ${response.statusCode}: ${text.slice(0, 300)}`));
      });
    });
    sent.on('error', reject).end(body);
  });
