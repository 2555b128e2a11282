import { Metadata } from 'nice-grpc-common';
import type { Backends } from '../cloud/backends.ts';
import type { AccessGrant } from './access-url.ts';
import type { ByteRange } from './range.ts';
import { footerBytes, vhdFooter } from './vhd-footer.ts';

/** Longest read through an access URL, in milliseconds. */
const readMs = 60 * 60 * 1_000;
/** Longest write of one request, in milliseconds: its bytes are in memory meanwhile. */
const writeMs = 60 * 1_000;
/** Pieces of a write, in bytes: below the largest message of the data path. */
const pieceBytes = 1024 * 1024;

/** Length of the VHD: the disk and the footer. */
export const vhdBytes = ({ sizeBytes }: AccessGrant): number => sizeBytes + footerBytes;

/** Reads a range of the VHD: the disk through the data path, then the footer. */
export async function* readVhd(
  { diskDataAt }: Pick<Backends, 'diskDataAt'>,
  grant: AccessGrant,
  { first, last }: ByteRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { disk, sizeBytes } = grant;
  if (first < sizeBytes) {
    const lengthBytes = Math.min(last + 1, sizeBytes) - first;
    const request = { name: disk, offsetBytes: first, lengthBytes };
    for await (const { data } of diskDataAt(grant.dataAddress).read(request, optionsOf(grant, readMs))) yield data;
  }
  if (last >= sizeBytes) {
    const footer = vhdFooter(sizeBytes, grant.uniqueId, 0);
    yield footer.subarray(Math.max(0, first - sizeBytes), last + 1 - sizeBytes);
  }
}

/** Writes a range and makes it stable. Bytes of the footer are ignored: it is computed from the disk. */
export const writeVhd = async (
  { diskDataAt }: Pick<Backends, 'diskDataAt'>,
  grant: AccessGrant,
  offsetBytes: number,
  content: Uint8Array,
): Promise<void> => {
  const data = content.subarray(0, Math.max(0, grant.sizeBytes - offsetBytes));
  if (data.length === 0) return;
  const client = diskDataAt(grant.dataAddress);
  await client.write(piecesOf(grant.disk, offsetBytes, data), optionsOf(grant, writeMs));
  await client.flush({ name: grant.disk }, optionsOf(grant, writeMs));
};

async function* piecesOf(name: string, offsetBytes: number, data: Uint8Array) {
  yield { header: { name, offsetBytes }, data: data.subarray(0, pieceBytes) };
  for (let at = pieceBytes; at < data.length; at += pieceBytes) yield { data: data.subarray(at, at + pieceBytes) };
}

const optionsOf = ({ accessToken }: AccessGrant, deadlineMs: number) => ({
  metadata: Metadata({ 'x-interlock-disk-access': accessToken }),
  deadlineMs,
});
