import type { RewrapItem, RewrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import type { HistoryLog, Verdict } from './history-log.ts';
import { wrongWrap } from './invariants-rotation.ts';
import type { Truth } from './oracle.ts';
import type { Answered } from './oracle-answers.ts';
import type { KnownSet } from './oracle-losses.ts';
import type { SimulatedCloud } from './simulated-cloud.ts';

/**
 * Standby keys. A data key moves from its wrap under one only by the word of that key's owner: whoever controls the set alone
 * must not bring back what was purged (G4, CMK-10). And such a wrap opens with the version its header names, or it would fail
 * on the day it is for (G6, CMK-108).
 */
export const standbyJudge = (parts: {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly truth: Truth;
}) => {
  const { world, log, truth } = parts;

  /** Whether a rewrap can only have begun at a wrap under a standby key, for the move the set is in now. */
  const isFromStandby = (set: KnownSet, source: string, target: string): boolean => {
    if (target !== set.activeKey || !set.standbys.has(source)) return false;
    // What is under the target already is not rewrapped; what was active once may be the source of a late repeat.
    return source === target || !set.actives.has(source);
  };

  world.onAnswer(({ service, path, request, refusal, answer }: Answered) => {
    if (service !== 'key-vault' || refusal !== undefined || !path.endsWith('/RewrapKeys')) return;
    const { items } = request as { readonly items: readonly RewrapItem[] };
    const { outcomes } = answer as RewrapKeysResponse;
    for (const [n, { rewrap }] of items.entries()) {
      const set = truth.losses.sets.get(rewrap?.diskEncryptionSet ?? '');
      if (!rewrap || !set || outcomes[n]?.outcome?.$case !== 'rewrapped') continue;
      const { sourceKeyVersion: source, targetKeyVersion: target, resource } = rewrap;
      if (!isFromStandby(set, source, target) || set.releasedTo.has(target)) continue;
      log.violate(
        'G4',
        `${resource} does not move from its wrap under the standby key ${source} without its owner’s word`,
        `it was rewrapped to ${target}`,
      );
      return;
    }
  });

  return {
    checkAll(verdict: Verdict): void {
      for (const disk of truth.disks.disks.values()) {
        const standby = disk.isDeleting ? undefined : truth.disks.headerOf(disk)?.standby;
        const unopened = standby && wrongWrap(truth, standby);
        if (unopened === undefined) continue;
        verdict.violate('G6', `the standby wrap of ${disk.name} opens with ${standby?.keyVersion}`, unopened);
        return;
      }
    },
  };
};
