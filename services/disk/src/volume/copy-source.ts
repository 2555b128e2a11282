import { type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { openDiskCipher } from '../dek.ts';
import type { DiskHeader } from '../disk-header-format.ts';
import type { AccessCheck, EncryptedDisk } from '../encrypted-disk.ts';
import { createEncryptedDisk } from '../encrypted-disk.ts';
import { setOf } from '../encryption.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
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
  const { volumeId } = source.volume;
  let header = await currentHeader(volumes, volumeId);
  const { dek, grant } = await deks.unwrap(source, header, cause);
  const opened = async () => {
    try {
      const { store, gate } = await volumes.open(volumeId);
      return { gate, disk: createEncryptedDisk(store, openDiskCipher(dek, mask)) };
    } finally {
      // Also where the volume cannot be opened: a cipher that nobody has would keep its copy.
      dek.fill(0);
    }
  };
  const { disk, gate } = await opened();
  const keyIn = ({ wrap }: DiskHeader): SetKeyVersion => ({
    set: setOf(source.encryption),
    keyVersion: wrap.keyVersion,
  });
  let key = keyIn(header);
  let lease = grant && keyAccess.lease(key);
  let held = grant;
  const use = () => ({ ...key, resource: source.name });
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
    const unwrapped = await deks.unwrap(source, header, cause, lease?.yes());
    try {
      // A lease that ended meanwhile found no DEK here to overwrite.
      if (lease?.isHeld() !== true) return;
      disk.giveKey(openDiskCipher(unwrapped.dek, mask));
      held = unwrapped.grant;
    } finally {
      unwrapped.dek.fill(0);
    }
  };

  /**
   * Whether a rotation has moved the source to another version since: then the lost one is not needed any more, and the lease
   * of the other counts (CMK-89).
   */
  const hasMoved = async (): Promise<boolean> => {
    const now = await currentHeader(volumes, volumeId);
    if (now.wrap.keyVersion === key.keyVersion) return false;
    leases.leave(key, user);
    header = now;
    key = keyIn(now);
    lease = keyAccess.lease(key);
    leases.join(key, user);
    return true;
  };

  const regain = async (): Promise<void> => {
    const endMs = clock.monotonicMs() + terms.ioPauseTimeoutMs;
    for (let failure: unknown; lease !== undefined && !isUsable(); ) {
      const loss = keyAccess.lossOf(key);
      if (loss) {
        if (await hasMoved()) continue;
        throw keyLost(use(), loss);
      }
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0 || signal.aborted) {
        throw vaultUnreachable(use(), failure ?? new Error('the lease ended while a copy was made'));
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
