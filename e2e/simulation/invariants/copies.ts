import { type Findings, seconds } from '@interlock/lab/judge/findings';
import type { AccessTruth } from '@interlock/lab/judge/model/access';
import { sectorCells } from '@interlock/lab/judge/model/content';
import type { CopyTruth, MadeCopy } from '@interlock/lab/judge/model/copies';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import type { Truth } from '@interlock/lab/judge/model/truth';
import { openDiskCipher } from '../../../services/disk/src/host/cipher/dek.ts';
import { sectorSize } from '../../../services/disk/src/host/storage/sector.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/storage/volume-files.ts';
import { openSimulatedWrap } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { StoredDisks } from '../truth/stored-disks.ts';
import { sectorsInUse } from '../workload/sectors.ts';

/** The first bytes of the wrapped plaintext are the DEK; this is its length. */
const dekBytes = 32;

interface Parts {
  readonly diskHosts: readonly {
    readonly name: string;
    readonly volumes: Pick<MemoryVolumeFiles, 'volumeIds' | 'peek'>;
  }[];
  readonly log: Findings;
  readonly truth: Pick<Truth, 'contents' | 'blockers' | 'boundAfter' | 'nowMs'> & {
    readonly disks: Pick<StoredDisks, 'disks' | 'headerOf' | 'keyVersionOf'>;
    readonly losses: { readonly access: Pick<AccessTruth, 'modulusOf'> };
    readonly copies: Pick<CopyTruth, 'underWay'>;
  };
}

/**
 * Copies: snapshots, disks created from disks and snapshots, and changes of encryption that copy. None is recorded after the bound
 * if the key of its source or target was lost (CMK-110; the bound is that of G1). A recorded copy holds the bytes of its source
 * (G5). A failed or deleted one leaves nothing behind, neither a copy in progress nor files (G2).
 */
export class CopyJudge {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  onMade(copy: MadeCopy): void {
    this.#checkInTime(copy);
    this.#checkBytes(copy.target, 'once it is recorded');
  }

  /** Checks what must hold once there is no disturbance. */
  checkAll(log: Findings): void {
    const { truth, diskHosts } = this.#parts;
    for (const { name, from } of truth.copies.underWay.values()) {
      log.violate('G2', `the copy ${name} of ${from} is complete, or has failed`, 'it is still in progress');
      return;
    }
    const known = new Set<string>();
    for (const { volumeId, host, name, isDeleting, elsewhere } of truth.disks.disks.values()) {
      for (const one of [`${host} ${volumeId}`, ...elsewhere]) known.add(one);
      if (isDeleting) log.violate('G2', `${name} is deleted: its deletion began`, 'it is still being deleted');
    }
    const left = diskHosts.flatMap(({ name, volumes }) =>
      volumes.volumeIds().flatMap((volumeId) => (known.has(`${name} ${volumeId}`) ? [] : `${volumeId} of ${name}`)),
    );
    if (left.length === 0) return;
    log.violate('G2', 'what was deleted or has failed leaves no files', `volumes without a disk: ${left.join(', ')}`);
  }

  /** Checks every snapshot again at the end, because its content is immutable. */
  checkEnd(): void {
    for (const disk of this.#parts.truth.disks.disks.values()) {
      if (disk.isSnapshot && !disk.isDeleting) this.#checkBytes(disk, 'at the end');
    }
  }

  #checkInTime(copy: MadeCopy): void {
    const { truth, log } = this.#parts;
    for (const [end, which] of [
      [this.#sourceOf(copy), 'source'],
      [copy.target, 'copy'],
    ] as const) {
      if (!end || truth.disks.keyVersionOf(end) === '') continue;
      const blockers = truth.blockers(end, 'opening').map((one) => ({ ...one, boundMs: truth.boundAfter(one) }));
      const [first] = blockers.toSorted((a, b) => a.boundMs - b.boundMs);
      if (!first || truth.nowMs() <= first.boundMs) continue;
      const key = `${truth.disks.keyVersionOf(end)} of ${end.set}: ${first.reason} since ${seconds(first.sinceMs)}`;
      const expected = `no copy is recorded after ${seconds(first.boundMs)} whose ${which} is under ${key}`;
      log.violate('G1', expected, `${copy.name} of ${copy.source?.name} was recorded`);
      return;
    }
  }

  /** The source, if it still is the copied one: not deleted, and not moved to another set or volume. */
  #sourceOf({ source }: MadeCopy): KnownDisk | undefined {
    const now = source && this.#parts.truth.disks.disks.get(source.name);
    if (!now || !source) return undefined;
    // The source volume of a change of encryption still exists at this moment.
    if (now.volumeId !== source.volumeId) return source;
    return now.set === source.set ? now : undefined;
  }

  /** Compares the content of storage with what the copy may hold. */
  #checkBytes(disk: KnownDisk, when: string): void {
    const content = this.#parts.truth.contents.get(disk.name);
    const bytes = content && this.#bytesOf(disk);
    if (!content || !bytes) return;
    const wrong = content.beginRead({ first: 0, count: sectorsInUse * sectorCells })(bytes);
    if (wrong === undefined) return;
    this.#parts.log.violate('G5', `${when}, ${disk.name} holds the bytes of its source`, wrong);
  }

  /** The content of a disk or snapshot, decrypted from storage; undefined if no existing key opens it. */
  #bytesOf(disk: KnownDisk): Buffer | undefined {
    const { truth, diskHosts } = this.#parts;
    const volumes = diskHosts.find(({ name }) => name === disk.host)?.volumes;
    const header = disk.set === '' ? undefined : truth.disks.headerOf(disk);
    const n = header && truth.losses.access.modulusOf(header.wrap.keyVersion);
    if (!header || !volumes || n === undefined) return undefined;
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
  }
}
