import type { RecordedEvent, RowChange } from '@interlock/event-store';
import type { Findings } from '@interlock/lab/judge/findings';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import type { DekWrap } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { DiskEncryptionSet } from '../../../services/disk-encryption-set/src/set/state.ts';
import { openSimulatedWrap } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/** The result for a wrap. It is checked repeatedly, and stays the same object while its sector does not change. */
const tried = new WeakMap<DekWrap, { readonly wrong: string | undefined }>();

const whyNotOpened = (n: string, { algorithm, wrapped }: DekWrap): string | undefined => {
  try {
    openSimulatedWrap({ publicJwk: { kty: 'RSA', n, e: 'AQAB' } }, algorithm, wrapped);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/**
 * G6: compares what a set shows about its keys with the headers on storage. No disk and no snapshot needs a version that is
 * neither active nor among `previousKeys`, so its owner may destroy it.
 */
export class RotationJudge {
  readonly #log: Findings;
  readonly #truth: SimulatedTruth;

  constructor({ log, truth }: { readonly log: Findings; readonly truth: SimulatedTruth }) {
    this.#log = log;
    this.#truth = truth;
  }

  /** The keys that a set shows cover every header, at the moment when they are stored. */
  onRows(rows: readonly RowChange[]): void {
    for (const { table, key, row } of rows) {
      if (table.startsWith('set_v') && row !== null) this.#checkRow(key, row as unknown as DiskEncryptionSet);
    }
  }

  /** A key was purged: everything lost with it must be under a set that shows that key. */
  onPurge(): void {
    for (const disk of this.#truth.disks.disks.values()) {
      const set = this.#truth.losses.sets.get(disk.set);
      if (!set || set.isDeleted || disk.isDeleting || disk.isChanging || !this.#truth.isGone(disk)) continue;
      const keyVersion = this.#truth.disks.keyVersionOf(disk);
      if (keyVersion === set.activeKey || set.previousKeys.has(keyVersion)) continue;
      const expected = `${disk.set} shows every key in use: ${disk.name} was lost with ${keyVersion}`;
      this.#log.violate('G6', expected, 'it does not show this one');
    }
  }

  onEvent({ stream, type }: RecordedEvent): void {
    if (type !== 'RotationFinished' && type !== 'KeyAssigned') return;
    this.#checkSet(stream.slice('set-'.length), `at ${type}`, this.#log);
  }

  checkAll(log: Findings): void {
    for (const disk of this.#truth.disks.disks.values()) {
      if (disk.isDeleting || disk.isChanging || !this.#truth.disks.isReplaced(disk)) continue;
      log.violate('G6', `the header of ${disk.name} is again the one its events record`, 'storage has another');
    }
    for (const name of this.#truth.losses.sets.keys()) this.#checkSet(name, 'once everything has settled', log);
  }

  /** Disks of a set that are neither being deleted nor moving between two sets: `CopyJudge` judges a change that does not end. */
  #disksOf(set: string): readonly KnownDisk[] {
    return [...this.#truth.disks.disks.values()].filter(
      (disk) => disk.set === set && !disk.isDeleting && !disk.isChanging,
    );
  }

  #checkSet(name: string, when: string, log: Findings): void {
    const set = this.#truth.losses.sets.get(name);
    if (!set || set.isDeleted) return;
    for (const disk of this.#disksOf(name)) {
      const keyVersion = this.#truth.disks.keyVersionOf(disk);
      if (keyVersion === '') {
        log.violate('G5', `the header of ${disk.name} can be read`, 'neither of its slots is good');
        return;
      }
      const header = this.#truth.disks.headerOf(disk);
      const unopened = header && this.#wrongWrap(header.wrap);
      if (unopened !== undefined) {
        const expected = `${when}, the wrap of ${disk.name} opens with ${keyVersion}, as its header says`;
        log.violate('G6', expected, unopened);
        return;
      }
      if (keyVersion === set.activeKey || set.previousKeys.has(keyVersion)) continue;
      log.violate(
        'G6',
        `${when}, ${disk.name} is under the active key of ${name} (${set.activeKey}) or one of its previous ones`,
        `its header says ${keyVersion}`,
      );
      return;
    }
  }

  #checkRow(name: string, row: DiskEncryptionSet): void {
    if (row.status !== 'active') return;
    const shown = new Set([row.activeKey, ...row.previousKeys].map(({ keyVersion }) => keyVersion));
    for (const disk of this.#disksOf(name)) {
      const keyVersion = this.#truth.disks.keyVersionOf(disk);
      if (keyVersion === '' || shown.has(keyVersion)) continue;
      const expected = `${name} shows every key in use: ${disk.name} is under ${keyVersion}`;
      this.#log.violate('G6', expected, [...shown].join(', '));
      return;
    }
  }

  /** Why a wrap cannot be opened with the version that it names; undefined if it can, or if that version is purged. */
  #wrongWrap(wrap: DekWrap): string | undefined {
    const n = this.#truth.losses.access.modulusOf(wrap.keyVersion);
    if (n === undefined) return undefined;
    const known = tried.get(wrap) ?? { wrong: whyNotOpened(n, wrap) };
    tried.set(wrap, known);
    return known.wrong;
  }
}
