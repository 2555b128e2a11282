import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { readMasterKey, unseal } from '@interlock/sealing';
import postgres from 'postgres';

/** Turns a valid token into an expired one. */
export type Expire = (token: string) => string;

/** How long ago the token was issued and ended, in seconds: far beyond any tolerance between clocks. */
const secondsAgo = { issued: 7_200, ended: 3_600 };

/**
 * Opens identity's own signing keys, to make a token that is valid except for its time (KV-81).
 * @param databaseUrl of identity
 * @param masterKeyFile of identity
 */
export const openExpiry = async (databaseUrl: string, masterKeyFile: string): Promise<Expire> => {
  const masterKey = await readMasterKey(masterKeyFile);
  const sql = postgres(databaseUrl, { max: 1 });
  const rows = await sql<{ key: string; row: { sealed: string } }[]>`
    select key, row from rows where table_name = 'signing_key_material_v1'`;
  await sql.end();
  const keys = new Map<string, KeyObject>();
  for (const { key: kid, row } of rows) {
    const pkcs8 = unseal(masterKey.key, `interlock signing key\0${kid}`, Buffer.from(row.sealed, 'base64url'));
    if (!pkcs8) throw new Error(`signing key ${kid} is not sealed under ${masterKeyFile}`);
    keys.set(kid, createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' }));
    pkcs8.fill(0);
  }
  return (token) => {
    const [header = '', payload = ''] = token.split('.');
    const key = keys.get(JSON.parse(decoded(header)).kid);
    if (!key) throw new Error('the token is signed by a key that identity does not have');
    const now = Math.floor(Date.now() / 1_000);
    const issued = now - secondsAgo.issued;
    const claims = { ...JSON.parse(decoded(payload)), iat: issued, nbf: issued, exp: now - secondsAgo.ended };
    const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), key).toString('base64url')}`;
  };
};

const decoded = (part: string): string => Buffer.from(part, 'base64url').toString();
