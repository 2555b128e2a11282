import { createHash } from 'node:crypto';
import type { ReceiveVolumeRequest } from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { type Cause, Rejection, StoreUnavailable } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import { isLayered } from '../disk/encryption.ts';
import { existingHost } from '../fleet/decider.ts';
import { failMove, finishMove, type VolumeAt } from '../fleet/moving.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import type { StoredPiece } from '../host/disk-host.ts';
import type { HostLink } from '../routing/host-link.ts';
import type { HostLinks } from '../routing/host-links.ts';
import { isAway } from '../routing/router.ts';
import { recordRemoved, removeFormer } from './former-volume.ts';
import { type Moved, movedKind } from './moved-kinds.ts';

/** Bytes that are sent, and made durable at the receiver, in one call: what an interrupted call has to repeat. */
const chunkBytes = 64 * 1024 * 1024;
/** Tries of one call while the receiver is away or busy, and the wait before the second one, which doubles. */
const triesMax = 6;
const retryMs = 1_000;
/** Longest duration of one call, in milliseconds. */
const chunkMs = 120_000;

/** Moves that run at one time in this process: each reads one piece of 1 MiB at a time. */
const movesMax = 2;

/**
 * Moves closed disks and snapshots to other hosts, as their present host (the sender):
 *
 *   VolumeMoving ──▶ pieces as they are stored, durable at the receiver ──▶ [turn of the disk: events follow the header ──▶ receiver
 *     writes the header with its own epoch ──▶ VolumeMoved ] ──▶ sender's volume removed ──▶ FormerVolumeRemoved
 *   anything fails, or the disk is opened ──▶ VolumeMoveFailed ──▶ receiver's volume removed ──▶ FormerVolumeRemoved
 *
 * Until `VolumeMoved` the disk is here and unchanged. That commit requires the very move that was announced, so a sender that was
 * paused cannot give a disk away which its successor has opened. A key may be rotated or lost meanwhile: no step needs it.
 */
export class VolumeMoves {
  readonly #control: Control;
  readonly #links: Pick<HostLinks, 'to'>;
  /** What this process moves now, by name: the end of the move, whatever came of it. */
  readonly #running = new Map<string, PromiseWithResolvers<void>>();
  /** What another host is asked to remove now, by name of the disk or snapshot. */
  readonly #asked = new Set<string>();
  /** Moves that wait for their place. */
  readonly #waiting: (() => void)[] = [];
  #places = movesMax;

  constructor(control: Control, links: Pick<HostLinks, 'to'>) {
    this.#control = control;
    this.#links = links;
  }

  /**
   * Begins a move, or finds it in progress.
   * @throws Rejection NOT_FOUND DISK_HOST_NOT_FOUND; as `MovedKind.announce`
   */
  async begin(name: string, host: string, cause: Cause, expected?: number): Promise<void> {
    const { turns, hosts, random } = this.#control;
    const kind = movedKind(this.#control, name);
    existingHost(hostNameOnWire(host), (await hosts.load(host)).state);
    const volumeId = random.uuid();
    const { moving } = await turns(name, async () => {
      await this.reconcile(name, cause);
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
        await this.#at(host, (link, signal) => link.volumes.discardFormerVolume({ name }, { cause, signal }));
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
    const { turns, log, signal } = this.#control;
    try {
      await this.#place();
      try {
        await this.#send(name, moving, cause);
        await turns(name, () => this.#finish(name, moving, cause));
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

  /** Sends everything as it is stored. An access that is given meanwhile ends the move, and so this. */
  async #send(name: string, moving: VolumeAt, cause: Cause): Promise<void> {
    const { host } = this.#control;
    const { volume, encryption } = await this.#stillMoving(name, moving);
    const stored = { volumeId: volume.volumeId, isLayered: isLayered(encryption) };
    const sizeBytes = await host.storedBytes(stored.volumeId, stored.isLayered);
    for (let from = 0; from < sizeBytes; from += chunkBytes) {
      if (from > 0) await this.#stillMoving(name, moving);
      const to = Math.min(from + chunkBytes, sizeBytes);
      await this.#sendChunk(
        { name, moving, pieces: () => host.readStored(stored.volumeId, stored.isLayered, { from, to }) },
        cause,
      );
    }
  }

  /** @throws Rejection ABORTED DISK_CHANGED */
  async #stillMoving(name: string, { volumeId }: VolumeAt): Promise<Moved> {
    const now = await movedKind(this.#control, name).load(name);
    if (now?.moving?.volumeId === volumeId) return now;
    throw new Rejection('ABORTED', 'DISK_CHANGED', `the move of ${name} has ended`, { resource: name });
  }

  /** Calls again while the receiver is away, for about half a minute. */
  async #sendChunk(chunk: Chunk, cause: Cause): Promise<void> {
    const { clock, signal } = this.#control;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#sendOnce(chunk, cause);
      } catch (error) {
        const mayPass = isAway(error) || (error instanceof Rejection && busyReasons.has(error.reason));
        if (!mayPass || tries === triesMax) throw error;
        await clock.sleep(retryMs * 2 ** (tries - 1), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  async #sendOnce({ name, moving, pieces }: Chunk, cause: Cause): Promise<void> {
    const digest = createHash('sha256');
    async function* messages(): AsyncGenerator<Partial<ReceiveVolumeRequest>> {
      yield { name, volumeId: moving.volumeId };
      for await (const { part, offset, data } of pieces()) {
        digest.update(data);
        yield { part: part === 'data' ? 'DATA' : 'LAYER', offsetBytes: offset, data };
      }
    }
    const received = await this.#at(moving.host, (link, signal) =>
      link.volumes.receiveVolume(messages(), { cause, signal, deadlineMs: chunkMs }),
    );
    if (digest.digest().equals(received.sha256)) return;
    throw new Rejection('DATA_LOSS', 'VOLUME_DAMAGED', `what disk host ${moving.host} received is not what was sent`, {
      resource: name,
      disk_host: hostNameOnWire(moving.host),
    });
  }

  /** In the turn: nothing changes the header meanwhile. */
  async #finish(name: string, moving: VolumeAt, cause: Cause): Promise<void> {
    const { host, stored, clock } = this.#control;
    const kind = movedKind(this.#control, name);
    await this.#stillMoving(name, moving);
    await kind.follow(name, cause);
    const now = await this.#stillMoving(name, moving);
    const header = await host.inspect({ ...now, name }, 'erase previous');
    await this.#at(moving.host, (link, signal) =>
      link.volumes.sealVolume({ name, volumeId: moving.volumeId }, { cause, signal }),
    );
    const rows = [stored.put(moving.volumeId, header)];
    await kind.commit(name, (state) => finishMove(state, clock.now(), moving.volumeId), cause, { rows });
  }

  async #at<Answer>(host: string, send: (link: HostLink, signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const link = await this.#links.to(host);
    return link.call(this.#control.signal, send);
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

/** What one call sends. */
interface Chunk {
  readonly name: string;
  readonly moving: VolumeAt;
  readonly pieces: () => AsyncIterable<StoredPiece>;
}

/** Refusals of a receiver that end by themselves: other volumes arrive, or an interrupted call has not ended there. */
const busyReasons: ReadonlySet<string> = new Set(['TOO_MANY_ARRIVALS', 'DISK_BUSY']);

const isAt = (self: string, host: string, fleet: Pick<Control['fleet'], 'isLost'>): boolean =>
  host === self || fleet.isLost(host);
