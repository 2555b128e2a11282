import type { RecordedEvent, RowChange } from '@interlock/event-store';
import type { DekWrap } from '../../../services/disk/src/host/header/disk-header-format.ts';
import type { DiskEncryptionSet } from '../../../services/disk-encryption-set/src/set/state.ts';
import { openSimulatedWrap } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { Verdict } from '../runs/history-log.ts';

/** What was found of a wrap. It is asked for again and again, and as long as its sector lies there it is the same object. */
const tried = new WeakMap<DekWrap, { readonly wrong: string | undefined }>();

/** Why a wrap does not open with the version it names; undefined when it does, or that is gone. */
const wrongWrap = ({ losses }: Truth, wrap: DekWrap): string | undefined => {
  const n = losses.access.modulusOf(wrap.keyVersion);
  if (n === undefined) return undefined;
  const known = tried.get(wrap);
  if (known) return known.wrong;
  const wrong = whyNotOpened(n, wrap);
  tried.set(wrap, { wrong });
  return wrong;
};

const whyNotOpened = (n: string, { algorithm, wrapped }: DekWrap): string | undefined => {
  try {
    openSimulatedWrap({ publicJwk: { kty: 'RSA', n, e: 'AQAB' } }, algorithm, wrapped);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/**
 * G6: what a set says about its keys is held against the headers on storage. A version that is neither active nor among
 * `previousKeys` is needed by no disk and no snapshot, so its owner may destroy it.
 */
export const rotationJudge = ({ log, truth }: { readonly log: Verdict; readonly truth: Truth }) => {
  const checkSet = (name: string, when: string, verdict: Verdict): void => {
    const set = truth.losses.sets.get(name);
    if (!set || set.isDeleted) return;
    for (const disk of truth.disks.disks.values()) {
      // Between two sets its header may be under a key of either; a change that does not end is for the judge of copies.
      if (disk.set !== name || disk.isDeleting || disk.isChanging) continue;
      const keyVersion = truth.disks.keyVersionOf(disk);
      if (keyVersion === '') {
        verdict.violate('G5', `the header of ${disk.name} can be read`, 'neither of its slots is good');
        return;
      }
      const header = truth.disks.headerOf(disk);
      const unopened = header && wrongWrap(truth, header.wrap);
      if (unopened !== undefined) {
        verdict.violate(
          'G6',
          `${when}, the wrap of ${disk.name} opens with ${keyVersion}, as its header says`,
          unopened,
        );
        return;
      }
      if (keyVersion === set.activeKey || set.previousKeys.has(keyVersion)) continue;
      verdict.violate(
        'G6',
        `${when}, ${disk.name} is under the active key of ${name} (${set.activeKey}) or one of its previous ones`,
        `its header says ${keyVersion || 'nothing readable'}`,
      );
      return;
    }
  };
  /** What the set itself shows as its keys must cover every header, at the moment it is stored. */
  const checkRow = (name: string, row: DiskEncryptionSet): void => {
    if (row.status !== 'active') return;
    const shown = new Set([row.activeKey, ...row.previousKeys].map(({ keyVersion }) => keyVersion));
    for (const disk of truth.disks.disks.values()) {
      if (disk.set !== name || disk.isDeleting || disk.isChanging) continue;
      const keyVersion = truth.disks.keyVersionOf(disk);
      if (keyVersion === '' || shown.has(keyVersion)) continue;
      log.violate(
        'G6',
        `${name} shows every key something is under: ${disk.name} is under ${keyVersion}`,
        [...shown].join(', '),
      );
      return;
    }
  };

  return {
    onRows(rows: readonly RowChange[]): void {
      for (const { table, key, row } of rows) {
        if (table.startsWith('set_v') && row !== null) checkRow(key, row as unknown as DiskEncryptionSet);
      }
    },
    /** A key was destroyed: whatever is lost with it is under a set that says it needs that key. */
    onPurge(): void {
      for (const disk of truth.disks.disks.values()) {
        const set = truth.losses.sets.get(disk.set);
        if (!set || set.isDeleted || disk.isDeleting || disk.isChanging || !truth.isGone(disk)) continue;
        const keyVersion = truth.disks.keyVersionOf(disk);
        if (keyVersion === set.activeKey || set.previousKeys.has(keyVersion)) continue;
        log.violate(
          'G6',
          `${disk.set} shows every key something is under: ${disk.name} went with ${keyVersion}`,
          'not this',
        );
      }
    },
    onEvent({ stream, type }: RecordedEvent): void {
      if (type === 'RotationFinished' || type === 'KeyAssigned')
        checkSet(stream.slice('set-'.length), `at ${type}`, log);
    },
    checkAll(verdict: Verdict): void {
      for (const disk of truth.disks.disks.values()) {
        if (disk.isDeleting || disk.isChanging || !truth.disks.isReplaced(disk)) continue;
        verdict.violate('G6', `the header of ${disk.name} is again the one its events record`, 'storage has another');
      }
      for (const name of truth.losses.sets.keys()) checkSet(name, 'once everything has settled', verdict);
    },
  };
};
