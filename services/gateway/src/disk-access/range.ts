import { RestError } from '../errors/rest-error.ts';

/** A range of bytes: from the first up to and including the last. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads `bytes=<first>-<last>`; either may be absent. Other forms count as no range (RFC 9110, 14.2).
 * @returns undefined for no range @throws RestError 416 for one outside of the content
 */
export const rangeOf = (header: string | undefined, sizeBytes: number): ByteRange | undefined => {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  const first = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const last = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (first <= last) return { first, last };
  throw new RestError(416, 'InvalidRange', `The range ${header?.slice(0, 100)} is outside of the ${sizeBytes} bytes.`, {
    headers: { 'content-range': `bytes */${sizeBytes}` },
  });
};
