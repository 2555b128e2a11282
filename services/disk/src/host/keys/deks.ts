import { type Cause, Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { type Encryption, setOf, type VolumeRef, type WrapRef } from '../../disk/encryption.ts';
import { type DekOwner, dekLength, matchesDekAuthenticator, secretBytes } from '../cipher/dek.ts';
import { encodeDekPayload, openDekPayload } from '../cipher/dek-payload.ts';
import type { DekWrap, DiskHeader } from '../header/disk-header-format.ts';
import type { KeyGrant } from './lease.ts';
import { type PlatformKey, platformAlgorithm } from './platform-key.ts';
import type { SetKey, SetKeys } from './set-keys.ts';
import { type CheckTerms, type Vault, vaultAlgorithm } from './vault.ts';

/** A disk or snapshot whose DEK is needed. */
export interface DekHolder {
  /** Full name, for the audit and for errors. */
  readonly name: string;
  readonly encryption: Encryption;
  readonly volume: VolumeRef;
  /** Of a disk: the change of encryption in progress; its header may be the new one already. */
  readonly changing?: { readonly encryption: Encryption } | null;
}

/** A plaintext DEK. The holder clears it. */
export interface OpenDek {
  readonly dek: Uint8Array;
  /** The grant under which it was unwrapped; undefined under a key of the platform. */
  readonly grant: KeyGrant | undefined;
}

/** A wrapped DEK, and the key of the set that wraps it. */
export interface WrappedDek {
  readonly wrap: DekWrap;
  readonly ref: WrapRef;
  readonly grant: KeyGrant | undefined;
}

/** Makes, wraps and unwraps DEKs: by the vault as the identity of a set, or by the key of the platform. */
export interface Deks {
  /** 32 random bytes; the caller clears them. Rule CMK-12. */
  generate(): Uint8Array;
  /** Wraps a DEK under `key`, or under the key of the platform without one. Rules CMK-08, CMK-13, CMK-14. */
  wrap(
    dek: Uint8Array,
    owner: DekOwner,
    use: { readonly name: string; readonly set: string; readonly key: SetKey | undefined },
  ): Promise<WrappedDek>;
  /**
   * Unwraps with exactly the version the header names, and compares the DEK with the one the store knows of this disk.
   * @param held the grant of a lease that is held; without it the vault first checks whether the key may be used
   * @throws Rejection DATA_LOSS WRONG_DEK, HEADER_CORRUPT; a reason of key loss; UNAVAILABLE
   */
  unwrap(holder: DekHolder, header: DiskHeader, cause: Cause, held?: KeyGrant): Promise<OpenDek>;
  /** Has the vault check whether the DEK can be unwrapped now; wins or renews the lease. @throws Rejection as `unwrap` */
  check(holder: DekHolder, header: DiskHeader, cause: Cause, terms?: CheckTerms): Promise<KeyGrant | undefined>;
}

/** Opens the DEKs of a host. */
export const openDeks = (parts: {
  readonly vault: Vault;
  readonly setKeys: SetKeys;
  readonly platformKey: PlatformKey;
  readonly random: Pick<Random, 'bytes'>;
}): Deks => {
  const { vault, setKeys, platformKey, random } = parts;
  const questionFor = async ({ name, encryption }: DekHolder, { wrap }: DiskHeader, cause: Cause) => {
    const set = setOf(encryption);
    const { principal } = await setKeys.inForce(set, cause);
    return { set, keyVersion: wrap.keyVersion, resource: name, principal };
  };

  return {
    generate() {
      const drawn = random.bytes(dekLength);
      const dek = secretBytes(dekLength);
      dek.set(drawn);
      drawn.fill(0);
      return dek;
    },
    async wrap(dek, owner, { name, set, key }) {
      const payload = encodeDekPayload(dek, owner);
      try {
        if (key === undefined) {
          const wrapped = platformKey.seal(platformPurpose(owner), payload);
          const wrap = { keyVersion: platformKey.name, algorithm: platformAlgorithm, wrapped };
          return { wrap, ref: { keyVersion: '', generation: 0 }, grant: undefined };
        }
        const { keyVersion, generation, principal } = key;
        const { wrapped, grant } = await vault.wrap({ set, keyVersion, resource: name, principal }, payload);
        const wrap = { keyVersion, algorithm: vaultAlgorithm, wrapped: Uint8Array.from(wrapped) };
        return { wrap, ref: { keyVersion, generation }, grant };
      } finally {
        payload.fill(0);
      }
    },
    async unwrap(holder, header, cause, held) {
      const owner = ownerIn(holder, header);
      const { wrap } = header;
      if (holder.encryption.type === 'platform') {
        const payload = platformKey.unseal(platformPurpose(owner), wrap.wrapped);
        if (!payload) throw wrongDek(holder, 'the wrap was changed, or is under another master key');
        return { dek: verified(openDekPayload(payload, owner), owner, holder), grant: undefined };
      }
      const { payload, grant } = await unwrapped(await questionFor(holder, header, cause), wrap.wrapped, held);
      return { dek: verified(openDekPayload(payload, owner), owner, holder), grant };
    },
    async check(holder, header, cause, terms) {
      ownerIn(holder, header);
      if (holder.encryption.type === 'platform') return undefined;
      return (await vault.check(await questionFor(holder, header, cause), header.wrap.wrapped, terms)).grant;
    },
  };

  async function unwrapped(...[question, wrapped, held]: Parameters<Vault['unwrap']>) {
    try {
      return await vault.unwrap(question, wrapped, held);
    } catch (error) {
      if (!(error instanceof Rejection && error.reason === 'BAD_CIPHERTEXT')) throw error;
      throw new Rejection(
        'DATA_LOSS',
        'WRONG_DEK',
        `the wrap in the header of ${question.resource} was not made by ${question.keyVersion}`,
        {
          disk: question.resource,
          key_version: question.keyVersion,
        },
        { cause: error },
      );
    }
  }
};

/** @throws Rejection DATA_LOSS WRONG_DEK for the header of another disk */
const ownerIn = (holder: DekHolder, header: DiskHeader): DekOwner => {
  const { dekId, dekDiskId: diskId } = holder.volume;
  if (header.diskId !== diskId || header.dekId !== dekId) {
    throw wrongDek(
      holder,
      `the header belongs to disk ${header.diskId} and DEK ${header.dekId}, not ${diskId} and ${dekId}`,
    );
  }
  return { dekId, diskId };
};

/** Only the disk's own DEK is used, whatever its header contains. */
const verified = (dek: Uint8Array, owner: DekOwner, holder: DekHolder): Uint8Array => {
  if (matchesDekAuthenticator(dek, owner, holder.volume.dekAuthenticator)) return dek;
  dek.fill(0);
  throw wrongDek(holder, 'the unwrapped DEK is not the one that the disk was made with');
};

const wrongDek = ({ name }: DekHolder, why: string): Rejection =>
  new Rejection('DATA_LOSS', 'WRONG_DEK', `the data key of ${name} cannot be used: ${why}`, { disk: name });

const platformPurpose = ({ diskId, dekId }: DekOwner): string => `interlock platform dek\0${diskId}\0${dekId}`;

/** The first header of a volume. @param set `''` under a key of the platform @param sizeBytes of the disk */
export const firstHeader = (
  owner: DekOwner,
  sizeBytes: number,
  set: string,
  { wrap, ref }: Pick<WrappedDek, 'wrap' | 'ref'>,
): DiskHeader => ({
  ...owner,
  size: sizeBytes,
  cipher: 'AES-256-XTS-4096',
  sequence: 1,
  set,
  generation: ref.generation,
  hostEpoch: 0,
  wrap,
});
