import { Readable } from 'node:stream';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { Clock } from '@interlock/runtime';
import { Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { CloudNames } from '../cloud/names.ts';
import { armTypes } from '../cloud/resource-names.ts';
import { type DiskGiven, invalid } from '../disks/disk-body.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteReply, type RouteRequest, route, type UrlParts } from '../http/route.ts';
import { openShares } from '../http/shares.ts';
import { pathOf } from '../resource-types/rows.ts';
import type { ServiceResources } from '../resource-types/service-resources.ts';
import type { AccessGrant, AccessUrls } from './access-url.ts';
import { readVhd, vhdBytes, writeVhd } from './content.ts';
import { rangeOf } from './range.ts';

interface Parts {
  readonly backends: Pick<Backends, 'disks' | 'diskDataAt'>;
  readonly names: CloudNames;
  readonly clock: Clock;
  readonly disks: ServiceResources<Disk, DiskGiven>;
  readonly accessUrls: AccessUrls;
}

const GrantBody = Type.Object({
  access: Type.String({ maxLength: 20 }),
  durationInSeconds: Type.Integer(),
  fileFormat: Type.Optional(Type.String({ maxLength: 20 })),
});

const host = 'gateway';
const path = pathOf(armTypes.disks);
/** Largest piece of an upload in bytes: that of a page blob. */
const uploadBytesMax = 4 * 1024 * 1024;

/** Direct access to disks by URL: a fixed VHD, as page blob (VM-07, CMK-110). */
export const diskAccessRoutes = (parts: Parts): readonly Route[] => [...grantRoutes(parts), ...contentRoutes(parts)];

const grantRoutes = (parts: Parts): readonly Route[] => {
  const { backends, names, accessUrls, disks } = parts;
  return [
    route({
      host,
      method: 'POST',
      path: `${path}/beginGetAccess`,
      does: 'Returns a URL that reads, or reads and writes, a disk as a fixed VHD',
      body: GrantBody,
      handle: async ({ params, body }, caller) => {
        const canWrite = body.access.toLowerCase() === 'write';
        if (!canWrite && body.access.toLowerCase() !== 'read')
          throw invalid('access', `must be Read or Write (got "${body.access}")`);
        if (body.fileFormat !== undefined && body.fileFormat.toLowerCase() !== 'vhd')
          throw new RestError(400, 'NotSupported', `fileFormat must be VHD (got "${body.fileFormat}")`);
        const { name, uniqueId } = await disks.get(params, caller);
        const accessLevel = canWrite ? 'WRITE' : 'READ';
        const request = { name, accessLevel, durationSeconds: body.durationInSeconds } as const;
        const access = await backends.disks.beginAccess(request, caller.as('disk'));
        const { accessToken, dataAddress, sizeBytes, expireTime } = access;
        const expiresAt = expireTime?.getTime() ?? 0;
        const grant = { disk: name, accessToken, dataAddress, sizeBytes, uniqueId, canWrite, expiresAt };
        return { body: { accessSAS: `${names.gateway}${accessUrls.pathOf(grant)}` } };
      },
    }),
    route({
      host,
      method: 'POST',
      path: `${path}/endGetAccess`,
      does: 'Ends the access by URL; a disk for an upload then has its content',
      handle: async ({ params }, caller) => {
        const disk = await disks.get(params, caller);
        const ended = await backends.disks.endAccess({ name: disk.name }, caller.as('disk'));
        if (disk.state === 'ACTIVE_ACCESS') {
          const { tags, content } = await disks.extras(ended);
          await disks.keep(ended, params, { tags, content: { ...content, uploaded: true } }, caller);
        }
        return {};
      },
    }),
  ];
};

const blob = '/disk-access/:name/:blob' as const;

type BlobRequest = RouteRequest<typeof blob, unknown>;

/** Most reads at once, of all clients and of one disk. Each holds a few MiB while its client reads. */
const readsMax = 32;
const readsOfDiskMax = 8;
/** How long a read waits for its turn, in milliseconds. */
const readWaitMs = 5_000;

const contentRoutes = ({ backends, accessUrls, clock }: Parts): readonly Route[] => {
  const grantOf = ({ params, query }: Pick<BlobRequest, 'params' | 'query'>): AccessGrant =>
    accessUrls.open(params.name, query.sig);
  const ownerOfUrl = ({ params: { name = '' }, query }: UrlParts): string => accessUrls.open(name, query.sig).disk;
  const common = { host, path: blob, access: 'public', ownerOfUrl } as const;
  const reads = openShares({
    what: 'reads of disks',
    max: readsMax,
    ofOwnerMax: readsOfDiskMax,
    waitMs: readWaitMs,
    clock,
  });
  return [
    route({
      ...common,
      method: 'GET',
      does: 'Reads the VHD of an access URL, or a range of it',
      handle: async (request) => {
        const grant = grantOf(request);
        const size = vhdBytes(grant);
        const range = rangeOf(headerOf(request, 'x-ms-range') ?? headerOf(request, 'range'), size);
        const { first, last } = range ?? { first: 0, last: size - 1 };
        const release = await reads.take({ owner: grant.disk, isAnonymous: false, amount: 1 });
        const stream = await streamOf(readVhd(backends, grant, { first, last }), release);
        return {
          status: range === undefined ? 200 : 206,
          stream,
          headers: {
            ...blobHeaders(grant),
            'content-length': String(last - first + 1),
            ...(range === undefined ? {} : { 'content-range': `bytes ${first}-${last}/${size}` }),
          },
        };
      },
    }),
    route({
      ...common,
      method: 'HEAD',
      does: 'Reads the size of the VHD of an access URL',
      handle: (request): RouteReply => {
        const grant = grantOf(request);
        return { headers: { ...blobHeaders(grant), 'content-length': String(vhdBytes(grant)) } };
      },
    }),
    route({
      ...common,
      method: 'PUT',
      does: 'Writes pages of the VHD of an access URL (`comp=page`)',
      bodyBytesMax: uploadBytesMax,
      handle: async (request) => {
        const grant = grantOf(request);
        await writePages(backends, grant, request);
        return { status: 201, headers: blobHeaders(grant) };
      },
    }),
  ];
};

const writePages = async (
  backends: Pick<Backends, 'diskDataAt'>,
  grant: AccessGrant,
  request: BlobRequest,
): Promise<void> => {
  if (!grant.canWrite) throw new RestError(403, 'AuthorizationPermissionMismatch', 'The URL is for reading only.');
  if (request.query.comp !== 'page') throw invalid('comp', `must be page (got "${request.query.comp ?? ''}")`);
  const range = rangeOf(headerOf(request, 'x-ms-range') ?? headerOf(request, 'range'), vhdBytes(grant));
  if (range === undefined) throw invalid('x-ms-range', 'must be bytes=<first>-<last>');
  const length = range.last - range.first + 1;
  const isClear = headerOf(request, 'x-ms-page-write')?.toLowerCase() === 'clear';
  if (isClear && length > uploadBytesMax) throw invalid('x-ms-range', `must span at most ${uploadBytesMax} bytes`);
  const content = isClear ? Buffer.alloc(length) : request.body;
  if (!(content instanceof Uint8Array) || content.length !== length)
    throw invalid('x-ms-range', `must span as many bytes as the body has, as application/octet-stream`);
  await writeVhd(backends, grant, range.first, content);
};

/**
 * The content as a stream. Its first piece is read before the head of the reply: an access loss is then a status, and not a broken
 * connection. @param onEnd called when the stream ends, also unread
 */
const streamOf = async (content: AsyncGenerator<Uint8Array, void, undefined>, onEnd: () => void): Promise<Readable> => {
  try {
    const stream = Readable.from(withFirst(await content.next(), content), { objectMode: false });
    stream.once('close', () => {
      // A stream that was never read has not ended the read of the disk. Its client is gone, so no failure matters.
      void content.return().catch(() => undefined);
      onEnd();
    });
    return stream;
  } catch (error) {
    onEnd();
    throw error;
  }
};

async function* withFirst(
  start: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (start.done !== true) yield start.value;
  yield* rest;
}

const headerOf = ({ headers }: BlobRequest, name: string): string | undefined => {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
};

const blobHeaders = ({ uniqueId }: AccessGrant): Readonly<Record<string, string>> => ({
  'accept-ranges': 'bytes',
  'content-type': 'application/octet-stream',
  etag: `"${uniqueId}"`,
  'x-ms-blob-type': 'PageBlob',
  'x-ms-version': '2018-03-28',
  'x-ms-lease-status': 'unlocked',
});
