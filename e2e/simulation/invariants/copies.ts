import { openDiskCipher } from '../../../services/disk/src/host/cipher/dek.ts';
import { sectorSize } from '../../../services/disk/src/host/storage/sector.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/volume/volume-files.ts';
import { openSimulatedWrap } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { SimulatedSettings } from '../cloud/deployment.ts';
import type { AccessTruth } from '../oracle/access.ts';
import { sectorCells } from '../oracle/content.ts';
import type { CopyTruth, MadeCopy } from '../oracle/copies.ts';
import type { DiskTruth, KnownDisk } from '../oracle/disks.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { Verdict } from '../runs/history-log.ts';
import { sectorsInUse } from '../workload/io.ts';
import { seconds } from './io.ts';

/** Bytes of a DEK at the start of what is wrapped. */
const dekBytes = 32;

/**
 * Copies: snapshots, disks made of disks and snapshots, and changes of encryption that copy. None is recorded after the bound
 * when the key of either end was lost meanwhile (CMK-110, the bound is that of G1); what is recorded holds the bytes of its source
 * (G5); and what fails or is deleted leaves nothing, neither in the making for ever nor on storage (G2).
 */
export const copyJudge = (parts: {
  readonly world: {
    readonly settings: Pick<SimulatedSettings, 'leases' | 'authzTtlMs'>;
    readonly volumes: Pick<MemoryVolumeFiles, 'volumeIds' | 'peek'>;
  };
  readonly log: Verdict;
  readonly truth: Pick<Truth, 'contents' | 'standing' | 'nowMs'> & {
    readonly disks: Pick<DiskTruth, 'disks' | 'headerOf' | 'keyVersionOf'>;
    readonly losses: { readonly access: Pick<AccessTruth, 'modulusOf'> };
    readonly copies: Pick<CopyTruth, 'underWay'>;
  };
}) => {
  const { world, log, truth } = parts;
  const { settings, volumes } = world;

  /** From when on no copy from or to the disk may be recorded; undefined while its key can be used. */
  const boundOf = (end: KnownDisk): { readonly boundMs: number; readonly why: string } | undefined => {
    const bounds = truth.standing(end, 'opening').map(({ reason, sinceMs, owner }) => ({
      boundMs: sinceMs + settings.leases.ttlMs + (owner === 'identity' ? settings.authzTtlMs : 0),
      why: `${reason} since ${seconds(sinceMs)}`,
    }));
    return bounds.toSorted((a, b) => a.boundMs - b.boundMs)[0];
  };

  /** The source, where it is still what was copied: not deleted, and not put under another set or volume. */
  const sourceOf = ({ source }: MadeCopy): KnownDisk | undefined => {
    const now = source && truth.disks.disks.get(source.name);
    if (!now || !source) return undefined;
    // Of a change of encryption the volume it was copied from is still there at this moment.
    if (now.volumeId !== source.volumeId) return source;
    return now.set === source.set ? now : undefined;
  };

  const checkInTime = (copy: MadeCopy): void => {
    for (const [end, which] of [
      [sourceOf(copy), 'source'],
      [copy.target, 'copy'],
    ] as const) {
      if (!end || truth.disks.keyVersionOf(end) === '') continue;
      const bound = boundOf(end);
      if (!bound || truth.nowMs() <= bound.boundMs) continue;
      log.violate(
        'G1',
        `no copy is recorded after ${seconds(bound.boundMs)} whose ${which} is under ${truth.disks.keyVersionOf(end)} of ${end.set}: ${bound.why}`,
        `${copy.name} of ${copy.source?.name} was recorded`,
      );
      return;
    }
  };

  /** What a disk or snapshot holds, opened from what lies on storage; undefined where that takes a key nobody has. */
  const bytesOf = (disk: KnownDisk): Buffer | undefined => {
    const header = disk.set === '' ? undefined : truth.disks.headerOf(disk);
    const n = header && truth.losses.access.modulusOf(header.wrap.keyVersion);
    if (!header || n === undefined) return undefined;
    const { algorithm, wrapped } = header.wrap;
    const payload = openSimulatedWrap({ publicJwk: { kty: 'RSA', n, e: 'AQAB' } }, algorithm, wrapped);
    const cipher = openDiskCipher(payload.subarray(0, dekBytes), undefined);
    const bytes = Buffer.alloc(sectorsInUse * sectorSize);
    for (let sector = 0; sector < sectorsInUse; sector += 1) {
      const stored = volumes.peek(disk.volumeId, 'data', sector);
      const into = bytes.subarray(sector * sectorSize, (sector + 1) * sectorSize);
      if (stored) cipher.decrypt(sector, stored, into);
    }
    cipher.destroy();
    return bytes;
  };

  /** Holds what lies on storage against what the copy may hold. */
  const checkBytes = (disk: KnownDisk, when: string): void => {
    const content = truth.contents.get(disk.name);
    const bytes = content && bytesOf(disk);
    if (!content || !bytes) return;
    const wrong = content.beginRead({ first: 0, count: sectorsInUse * sectorCells })(bytes);
    if (wrong !== undefined) log.violate('G5', `${when}, ${disk.name} holds the bytes of what it is a copy of`, wrong);
  };

  return {
    onMade(copy: MadeCopy): void {
      checkInTime(copy);
      checkBytes(copy.target, 'once it is recorded');
    },
    /** Looks at what must be so once nothing goes wrong any more. */
    checkAll(verdict: Verdict): void {
      for (const { name, from } of truth.copies.underWay.values()) {
        verdict.violate('G2', `the copy ${name} of ${from} is made, or has failed`, 'it is still in the making');
        return;
      }
      const known = new Set<string>();
      for (const { volumeId, name, isDeleting } of truth.disks.disks.values()) {
        known.add(volumeId);
        if (isDeleting) verdict.violate('G2', `${name} is gone: its deletion began`, 'it is still being deleted');
      }
      const left = volumes.volumeIds().filter((volumeId) => !known.has(volumeId));
      if (left.length > 0) {
        verdict.violate(
          'G2',
          'what was deleted or has failed leaves no files',
          `volumes of nobody: ${left.join(', ')}`,
        );
      }
    },
    /** Looks at every snapshot once more: nobody can write to one. */
    checkEnd(): void {
      for (const disk of truth.disks.disks.values()) {
        if (disk.isSnapshot && !disk.isDeleting) checkBytes(disk, 'at the end');
      }
    },
  };
};
