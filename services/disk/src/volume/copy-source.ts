import { type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { openDiskCipher } from '../dek.ts';
import type { AccessCheck, EncryptedDisk } from '../encrypted-disk.ts';
import { createEncryptedDisk } from '../encrypted-disk.ts';
import { setOf } from '../encryption.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess } from '../keys/key-access.ts';
import { keyLost, vaultUnreachable } from '../keys/key-reasons.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import type { XtsMask } from '../xts-mask.ts';
import { currentHeader } from './headers.ts';
import type { Volumes } from './volumes.ts';
import type { WriteGate } from './write-gate.ts';

/** What a copy reads from. */
export interface CopySource {
  readonly disk: EncryptedDisk;
  readonly gate: WriteGate;
  /** Asked around each piece, as reads and writes ask. */
  readonly check: AccessCheck;
  /** Gives up the lease and overwrites the DEK. */
  close(): Promise<void>;
}

/** Wait after an unwrap that got no answer while the lease is held, in milliseconds. */
const unwrapAgainMs = 200;

/** What opening a source needs. */
export interface CopyParts {
  readonly volumes: Volumes;
  readonly deks: Deks;
  readonly keyAccess: Pick<KeyAccess, 'lease' | 'lossOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave' | 'changed'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly clock: Clock;
  readonly mask: XtsMask | undefined;
  /** Aborted when this host stops: nothing waits any longer. */
  readonly signal: AbortSignal;
}

/**
 * Opens a disk or snapshot to be copied. It uses the lease of its key as an open disk does, and by the same rule: without it
 * the DEK is overwritten and the copy waits, for at most as long as I/O may be paused; a loss ends it at once (G1).
 * @throws Rejection as `Deks.unwrap`; `check` throws a reason of key loss, UNAVAILABLE KEY_VAULT_UNREACHABLE
 */
export const openCopySource = async (parts: CopyParts, source: DekHolder, cause: Cause): Promise<CopySource> => {
  const { volumes, deks, keyAccess, leases, terms, clock, mask, signal } = parts;
  const header = await currentHeader(volumes, source.volume.volumeId);
  const { dek, grant } = await deks.unwrap(source, header, cause);
  const cipher = openDiskCipher(dek, mask);
  dek.fill(0);
  const { store, gate } = await volumes.open(source.volume.volumeId);
  const disk = createEncryptedDisk(store, cipher);
  const key = { set: setOf(source.encryption), keyVersion: header.wrap.keyVersion };
  const use = { ...key, resource: source.name };
  const lease = grant && keyAccess.lease(key);
  let held = grant;
  const user: LeaseUser = {
    name: source.name,
    isPinnable: false,
    accessEpoch: grant?.accessEpoch ?? 0,
    grant: () => held,
    drop: () => {
      held = undefined;
      disk.dropKey();
    },
    probe: (probeTerms, probing) => deks.check(source, header, probing, probeTerms),
  };

  const isUsable = (): boolean => lease === undefined || (held !== undefined && lease.isHeld());

  const fetchDek = async (): Promise<void> => {
    const opened = await deks.unwrap(source, header, cause, lease?.yes());
    disk.giveKey(openDiskCipher(opened.dek, mask));
    opened.dek.fill(0);
    held = opened.grant;
  };

  const regain = async (): Promise<void> => {
    const endMs = clock.monotonicMs() + terms.ioPauseTimeoutMs;
    for (let failure: unknown; lease !== undefined && !isUsable(); ) {
      const loss = keyAccess.lossOf(key);
      if (loss) throw keyLost(use, loss);
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0 || signal.aborted) {
        throw vaultUnreachable(use, failure ?? new Error('the lease ended while a copy was made'));
      }
      if (!lease.isHeld()) {
        await leases.changed(key, leftMs, signal);
        continue;
      }
      try {
        await fetchDek();
      } catch (error) {
        if (!(error instanceof Rejection && error.code === 'UNAVAILABLE')) throw error;
        failure = error;
        await clock.sleep(Math.min(leftMs, unwrapAgainMs), signal);
      }
    }
  };

  if (grant) leases.join(key, user);
  return {
    disk,
    gate,
    check: () => (isUsable() ? undefined : regain()),
    async close() {
      leases.leave(key, user);
      await disk.close();
    },
  };
};
