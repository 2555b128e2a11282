import { type Encryption, type HeaderRef, setOf, type VolumeRef, type WrapRef } from '../../disk/encryption.ts';
import { type DiskHeader, headerDigest } from './disk-header-format.ts';

/** The key version and generation of a header, as events and the API have them. */
export const wrapRefOf = (encryption: Encryption, header: DiskHeader): WrapRef =>
  setOf(encryption) === ''
    ? { keyVersion: '', generation: 0 }
    : { keyVersion: header.wrap.keyVersion, generation: header.generation };

/** Which header of a volume this is, as events have it. */
export const headerRefOf = (volumeId: string, header: DiskHeader): HeaderRef => ({
  volumeId,
  headerSequence: header.sequence,
  headerDigest: headerDigest(header),
});

/** A volume, as events have it. @param dekAuthenticator that of the DEK the header wraps */
export const volumeRefOf = (volumeId: string, header: DiskHeader, dekAuthenticator: string): VolumeRef => ({
  ...headerRefOf(volumeId, header),
  dekId: header.dekId,
  dekDiskId: header.diskId,
  dekAuthenticator,
});
