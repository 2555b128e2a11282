import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '@interlock/runtime';

/** Where a page is served. */
export interface PageAddress {
  /** 0: a free port. */
  readonly port: number;
  /** First part of the path of every request. */
  readonly token: string;
}

/** Random bytes of a token. */
const TOKEN_BYTES = 24;

/** A new token, and the given port. */
export const newAddress = (random: Random, port = 0): PageAddress => ({
  port,
  token: Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url'),
});

/** The address of the page that was served last from a data folder, so that a window that shows it finds it again; undefined without one. */
export function keptAddress(data: string): PageAddress | undefined {
  try {
    const { port, token } = JSON.parse(readFileSync(join(data, 'page.json'), 'utf8')) ?? {};
    const isValid = Number.isInteger(port) && port > 0 && port < 65_536 && /^[\w-]{32}$/.test(String(token));
    return isValid ? { port, token } : undefined;
  } catch (error) {
    const isAbsent =
      error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT');
    if (isAbsent) return undefined;
    throw error;
  }
}

/** Keeps an address in a data folder; only its owner can read it. */
export const keepAddress = (data: string, address: PageAddress): void =>
  writeFileSync(join(data, 'page.json'), `${JSON.stringify(address)}\n`, { mode: 0o600 });
