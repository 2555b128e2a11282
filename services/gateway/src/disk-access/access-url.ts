import type { Random } from '@interlock/runtime';
import { type MasterKey, nonceLength, seal, unseal } from '@interlock/sealing';
import { RestError } from '../errors/rest-error.ts';

/** What an access URL carries, sealed: any replica serves it, and only this cloud can read it. */
export interface AccessGrant {
  /** Interlock name of the disk. */
  readonly disk: string;
  readonly accessToken: string;
  /** `host:port` of the data path. */
  readonly dataAddress: string;
  readonly sizeBytes: number;
  readonly uniqueId: string;
  readonly canWrite: boolean;
  /** Unix time in milliseconds. */
  readonly expiresAt: number;
}

const purpose = 'interlock gateway disk access';

/** Seals and opens the grants of access URLs. */
export interface AccessUrls {
  /** Path and query of a URL; it is a secret. */
  pathOf(grant: AccessGrant): string;
  /** @param name of the disk in the path @throws RestError 403 as a storage account refuses a signature */
  open(name: string, signature: string | undefined): AccessGrant;
}

/** Opens them under the master key. */
export const openAccessUrls = (
  masterKey: MasterKey,
  random: Random,
  clock: { readonly now: () => number },
): AccessUrls => ({
  pathOf(grant) {
    const sealed = seal(masterKey.key, random.bytes(nonceLength), purpose, Buffer.from(JSON.stringify(grant)));
    const signature = Buffer.from(sealed).toString('base64url');
    const rights = grant.canWrite ? 'rw' : 'r';
    const end = encodeURIComponent(new Date(grant.expiresAt).toISOString());
    return `/disk-access/${lastOf(grant.disk)}/abcd?sv=2018-03-28&sr=b&sp=${rights}&se=${end}&sig=${signature}`;
  },
  open(name, signature) {
    const sealed = signature && unseal(masterKey.key, purpose, Buffer.from(signature, 'base64url'));
    if (!sealed) throw refused('Signature did not match.');
    const grant = JSON.parse(Buffer.from(sealed).toString()) as AccessGrant;
    if (lastOf(grant.disk) !== name.toLowerCase()) throw refused('The signature is for another disk.');
    if (clock.now() >= grant.expiresAt) throw refused('Signature not valid in the specified time frame.');
    return grant;
  },
});

const lastOf = (name: string): string => name.split('/').at(-1) ?? '';

const refused = (why: string): RestError =>
  new RestError(
    403,
    'AuthenticationFailed',
    `Server failed to authenticate the request. Make sure the value of the sig parameter is complete. ${why}`,
  );
