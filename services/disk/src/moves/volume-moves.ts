import { type Cause, Rejection, StoreUnavailable } from '@interlock/event-store';
import { outsideOfCalls, RpcFailure } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { staysHere } from '../disk/decider.ts';
import { isLayered } from '../disk/encryption.ts';
import { existingHost } from '../fleet/decider.ts';
import { failMove, finishMove, type Movable, type VolumeAt } from '../fleet/moving.ts';
import { notHere } from '../fleet/own.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import type { HostLinks } from '../routing/host-links.ts';
import { isAway } from '../routing/router.ts';
import { recordRemoved, removeFormer } from './former-volume.ts';
import { type Moved, type MovedKind, movedKind } from './moved-kinds.ts';
import { Sending, type Sent } from './sending.ts';

/** Moves that run at one time in this process: each reads one piece of 1 MiB at a time. */
const movesMax = 2;

/** How long the guest of an open disk may wait for a write while the disk changes its host, in milliseconds (G6). */
const pauseMs = 2_000;
/** Longest hand-over of a closed disk or a snapshot, in milliseconds: an open waits for it, and each call of compute lasts 10 s. */
const closedMs = 5_000;
/** How often that is tried. */
const handOversMax = 5;
/** The wait before the store is asked again who has a disk, in milliseconds. */
const settleMs = 500;

/**
 * Moves disks and snapshots to other hosts, as their present host (the sender):
 *
 *   VolumeMoving ──▶ pieces as they are stored, durable at the receiver ──▶ what was written meanwhile ──▶ receiver wins the lease of
 *     the key ──▶ [turn of the disk, no writes: the rest ──▶ events follow the header ──▶ receiver writes the header with its own epoch
 *     ──▶ VolumeMoved ──▶ the access here ends: DISK_NOT_HERE] ──▶ sender's volume removed ──▶ FormerVolumeRemoved
 *   anything fails, or the disk is opened again ──▶ VolumeMoveFailed ──▶ receiver's volume removed ──▶ FormerVolumeRemoved
 *
 * Until `VolumeMoved` the disk is here and unchanged. That commit requires the very move that was announced, and a process that takes this
 * folder ends the move before it serves the disk: so a sender that was paused cannot give a disk away that its successor serves. A closed
 * disk needs no key, so that may be rotated or lost meanwhile. An open one stays if the receiver cannot win the lease of its key.
 */
export class VolumeMoves {
  readonly #control: Control;
  readonly #sending: Sending;
  /** What this process moves now, by name: the end of the move, whatever came of it. */
  readonly #running = new Map<string, PromiseWithResolvers<void>>();
  /** What another host is asked to remove now, by name of the disk or snapshot. */
  readonly #asked = new Set<string>();
  /** Moves that wait for their place. */
  readonly #waiting: (() => void)[] = [];
  #places = movesMax;

  constructor(control: Control, links: Pick<HostLinks, 'to'>) {
    this.#control = control;
    this.#sending = new Sending(control, links);
  }

  /**
   * Begins a move, or finds it in progress.
   * @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND; FAILED_PRECONDITION DISK_OPEN; as `MovedKind.announce`
   */
  async begin(name: string, host: string, cause: Cause, expected?: number): Promise<void> {
    const { turns, hosts, random } = this.#control;
    const kind = movedKind(this.#control, name);
    existingHost(hostNameOnWire(host), (await hosts.load(host)).state);
    const volumeId = random.uuid();
    const { moving } = await turns(name, async () => {
      await this.reconcile(name, cause);
      this.#refuseStaying(name);
      await kind.follow(name, cause);
      const announced = await kind.announce(name, host, volumeId, cause, expected);
      if (announced.moving?.volumeId === volumeId) this.#running.set(name, Promise.withResolvers());
      return announced;
    }).catch((error: unknown) => {
      // The commit may be stored nevertheless.
      if (error instanceof StoreUnavailable) this.#reconcileLater(name, cause);
      throw error;
    });
    if (moving?.volumeId !== volumeId) return;
    outsideOfCalls(() => void this.#run(name, moving, cause));
  }

  /** Resolves when this process does not move it any more, whatever came of it. */
  async ended(name: string): Promise<void> {
    await this.#running.get(name)?.promise;
  }

  /**
   * Ends what an ended process left of a move, and removes what moves have left; does nothing otherwise. The caller has the turn.
   * If the sender is lost the receiver does it, and if both are, any host.
   */
  async reconcile(name: string, cause: Cause): Promise<void> {
    const { clock, fleet, hostName } = this.#control;
    const kind = movedKind(this.#control, name);
    let now = await kind.load(name);
    const moving = now?.moving;
    if (now && moving && !this.#running.has(name)) {
      const isMine = now.host === hostName || (fleet.isLost(now.host) && isAt(hostName, moving.host, fleet));
      if (!isMine) return;
      await kind.commit(name, (state) => failMove(state, clock.now(), moving.volumeId, 'INTERRUPTED'), cause);
      now = await kind.load(name);
    }
    await this.#removeLeft(name, now, cause);
  }

  async #removeLeft(name: string, now: Moved | undefined, cause: Cause): Promise<void> {
    const { fleet, hostName } = this.#control;
    const former = now?.former ?? null;
    if (now === undefined || former === null) return;
    if (former.host === hostName) return removeFormer(this.#control, name, cause);
    if (fleet.isLost(former.host)) return recordRemoved(this.#control, name, former, cause);
    if (now.host === hostName) this.#askToRemove(name, former.host, cause);
  }

  /** Not in the turn: opens and closes of the disk do not wait for another host. The search for unfinished work asks again. */
  #askToRemove(name: string, host: string, cause: Cause): void {
    if (this.#asked.has(name)) return;
    this.#asked.add(name);
    outsideOfCalls(async () => {
      try {
        await this.#sending.at(host, (link, signal) => link.volumes.discardFormerVolume({ name }, { cause, signal }));
      } catch (error) {
        const { log } = this.#control;
        log.info('a disk host has not removed yet what a move left there', { name, diskHost: host, error });
      } finally {
        this.#asked.delete(name);
      }
    });
  }

  /** Until then the disk cannot be moved again or deleted. */
  #reconcileLater(name: string, cause: Cause): void {
    if (!this.#control.retries.has(name)) this.#control.retries.add(name, () => this.reconcile(name, cause));
  }

  async #run(name: string, moving: VolumeAt, cause: Cause): Promise<void> {
    const { log, signal } = this.#control;
    try {
      await this.#place();
      try {
        await this.#carryOut(name, moving, cause);
      } finally {
        this.#leave();
      }
    } catch (error) {
      // The process that takes this folder next ends the move.
      if (signal.aborted) return;
      log.warn('a disk or snapshot could not be moved', { name, diskHost: moving.host, error });
      const reason = error instanceof Rejection ? error.reason : 'INTERNAL';
      await this.#fail(name, moving, reason, cause).catch((failure: unknown) =>
        log.warn('the failure of a move could not be recorded yet', { name, error: failure }),
      );
    } finally {
      this.#running.get(name)?.resolve();
      this.#running.delete(name);
      this.#reconcileLater(name, cause);
    }
  }

  #fail(name: string, { volumeId }: VolumeAt, reason: string, cause: Cause): Promise<void> {
    const { turns, clock } = this.#control;
    const kind = movedKind(this.#control, name);
    return turns(name, () => kind.commit(name, (state) => failMove(state, clock.now(), volumeId, reason), cause));
  }

  async #carryOut(name: string, moving: VolumeAt, cause: Cause): Promise<void> {
    const { host, turns } = this.#control;
    const { volume, encryption } = await this.#sending.stillMoving(name, moving);
    const followed = await host.follow(volume.volumeId, isLayered(encryption));
    const sent: Sent = { name, moving, volume: followed, cause };
    try {
      await this.#sending.all(sent);
      for (let tries = 1; ; tries += 1) {
        await this.#sending.written(sent);
        // Not in the turn, where an open would wait for it: a copy that began before the move takes as long as the volume is large.
        await followed.copied();
        if (host.isOpen(name)) await this.#prepare(sent);
        if (await turns(name, () => this.#handOver(sent))) break;
        if (tries === handOversMax) throw pauseTooLong(name, this.#limitMs(name));
      }
    } finally {
      await followed.end();
    }
    await this.#resumeThere(sent);
  }

  #prepare({ name, moving, cause }: Sent): Promise<unknown> {
    return this.#sending.at(moving.host, (link, signal) =>
      link.volumes.prepareArrival({ name, volumeId: moving.volumeId }, { cause, signal }),
    );
  }

  /** The receiver has the disk. Without this, the next read or write of the guest resumes its access. */
  async #resumeThere({ name, moving, cause }: Sent): Promise<void> {
    const { log } = this.#control;
    await this.#sending
      .at(moving.host, (link, signal) => link.volumes.resumeAccess({ name }, { cause, signal }))
      .catch((error: unknown) => log.info('a moved disk is not resumed yet', { name, diskHost: moving.host, error }));
  }

  /**
   * In the turn: nothing changes the header meanwhile.
   * @returns false if the guest of an open disk, or an open of a closed one, would have to wait for too long, also for a copy that
   *   has begun: nothing has changed
   */
  async #handOver(sent: Sent): Promise<boolean> {
    const { name, moving, volume } = sent;
    await this.#sending.stillMoving(name, moving);
    this.#refuseStaying(name);
    if (volume.isCopying()) return false;
    return volume.withoutWrites(() => this.#finish(sent));
  }

  /** How long one hand-over may take now, in milliseconds. */
  #limitMs(name: string): number {
    return this.#control.host.isOpen(name) ? pauseMs : closedMs;
  }

  async #finish(sent: Sent): Promise<boolean> {
    const { host, stored, clock, fleet, hostName } = this.#control;
    const { name, moving, cause } = sent;
    const kind = movedKind(this.#control, name);
    const endMs = clock.monotonicMs() + this.#limitMs(name);
    const leftMs = (): number => Math.max(1, endMs - clock.monotonicMs());
    try {
      await this.#sending.rest(sent, leftMs());
      await kind.follow(name, cause);
      const now = await this.#sending.stillMoving(name, moving);
      const header = await host.inspect({ ...now, name }, 'erase previous');
      const { hostEpoch } = await this.#sending.at(moving.host, (link, signal) =>
        link.volumes.sealVolume({ name, volumeId: moving.volumeId }, { cause, signal, deadlineMs: leftMs() }),
      );
      if (clock.monotonicMs() >= endMs) return false;
      const rows = [stored.put(moving.volumeId, header)];
      await this.#commit(sent, (state) => finishMove(state, clock.now(), moving.volumeId, hostEpoch), { rows });
    } catch (error) {
      // The guest of an open disk continues here meanwhile.
      if (isTooSlow(error) || (host.isOpen(name) && isAway(error))) return false;
      throw error;
    }
    host.handOver(name, notHere(name, moving.host, hostName, fleet));
    return true;
  }

  /**
   * Records the end of the move. If the store does not respond, nothing is written here until it says who has the disk: either the move is
   * stored, or that it failed is, and then it cannot be stored later.
   */
  async #commit({ name, moving, cause }: Sent, ...[decide, options]: CommitTerms): Promise<void> {
    const { clock, signal, host, fleet, hostName } = this.#control;
    const kind = movedKind(this.#control, name);
    try {
      return await kind.commit(name, decide, cause, options);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
    const end = (state: Movable) => failMove(state, clock.now(), moving.volumeId, 'STORE_UNAVAILABLE');
    for (;;) {
      try {
        await kind.commit(name, end, cause);
        throw new Rejection('ABORTED', 'DISK_CHANGED', `the store did not respond at the end of the move of ${name}`);
      } catch (error) {
        if (error instanceof Rejection && error.reason === 'DISK_NOT_HERE') return;
        if (!(error instanceof StoreUnavailable)) throw error;
        await clock.sleep(settleMs, signal);
        if (!signal.aborted) continue;
        host.handOver(name, notHere(name, moving.host, hostName, fleet));
        throw error;
      }
    }
  }

  /** @throws Rejection FAILED_PRECONDITION DISK_OPEN */
  #refuseStaying(name: string): void {
    const why = this.#control.host.whyItStays(name);
    if (why !== undefined) throw staysHere(why);
  }

  async #place(): Promise<void> {
    if (this.#places > 0) {
      this.#places -= 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await promise;
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#places += 1;
  }
}

type CommitTerms = [decide: Parameters<MovedKind['commit']>[1], options: Parameters<MovedKind['commit']>[3]];

/** Whether the receiver took too long. */
const isTooSlow = (error: unknown): boolean => error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED';

const pauseTooLong = (name: string, limitMs: number): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'MOVE_PAUSE_TOO_LONG',
    `${name} was not handed over within ${limitMs} ms, ${handOversMax} times: its guest, or an open, would have waited for longer`,
    { resource: name, limit_ms: String(limitMs) },
  );

const isAt = (self: string, host: string, fleet: Pick<Control['fleet'], 'isLost'>): boolean =>
  host === self || fleet.isLost(host);
