import { createHash } from 'node:crypto';
import type { ReceiveVolumeRequest } from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import type { Control } from '../disk/control.ts';
import { isLayered } from '../disk/encryption.ts';
import type { VolumeAt } from '../fleet/moving.ts';
import { hostNameOnWire } from '../fleet/wire.ts';
import type { FollowedVolume, StoredPiece } from '../host/disk-host.ts';
import { pieceSize } from '../host/storage/sector.ts';
import type { HostLink } from '../routing/host-link.ts';
import type { HostLinks } from '../routing/host-links.ts';
import { isAway } from '../routing/router.ts';
import { type Moved, movedKind } from './moved-kinds.ts';

/** Bytes that are sent, and made durable at the receiver, in one call: what an interrupted call has to repeat. */
const chunkBytes = 64 * 1024 * 1024;
/** Tries of one call while the receiver is away or busy, and the wait before the second one, which doubles. */
const triesMax = 6;
const retryMs = 1_000;
/** Longest duration of one call, in milliseconds. */
const chunkMs = 120_000;
/** Passes over what was written meanwhile, and how many bytes may be left for the pause of the guest. */
const passesMax = 5;
const leftBytesMax = 8 * 1024 * 1024;

/** A volume on its way to another host. */
export interface Sent {
  /** Of the disk or snapshot. */
  readonly name: string;
  readonly moving: VolumeAt;
  readonly volume: FollowedVolume;
  readonly cause: Cause;
}

/** Sends volumes to other hosts as they are stored: ciphertext, and sealed keys. */
export class Sending {
  readonly #control: Control;
  readonly #links: Pick<HostLinks, 'to'>;

  constructor(control: Control, links: Pick<HostLinks, 'to'>) {
    this.#control = control;
    this.#links = links;
  }

  /** Calls the receiver. @throws as `HostLink.call` */
  async at<Answer>(host: string, send: (link: HostLink, signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const link = await this.#links.to(host);
    return link.call(this.#control.signal, send);
  }

  /**
   * Sends everything. An access that is given meanwhile ends the move, and so this.
   * @throws Rejection ABORTED DISK_CHANGED; the refusal of the receiver
   */
  async all(sent: Sent): Promise<void> {
    const { host } = this.#control;
    const { volume, encryption } = await this.stillMoving(sent.name, sent.moving);
    const stored = { volumeId: volume.volumeId, isLayered: isLayered(encryption) };
    const sizeBytes = await host.storedBytes(stored.volumeId, stored.isLayered);
    for (let from = 0; from < sizeBytes; from += chunkBytes) {
      if (from > 0) await this.stillMoving(sent.name, sent.moving);
      const to = Math.min(from + chunkBytes, sizeBytes);
      await this.#patiently(sent, () => host.readStored(stored.volumeId, stored.isLayered, { from, to }));
    }
  }

  /** Sends what was written meanwhile, until little is left or a guest writes as fast as this sends. @throws as `all` */
  async written(sent: Sent): Promise<void> {
    const { dirty } = sent.volume;
    for (let pass = 1; pass <= passesMax && dirty.bytes > leftBytesMax; pass += 1) {
      await this.stillMoving(sent.name, sent.moving);
      const ranges = dirty.take();
      for (let next = ranges.next(); !next.done; next = ranges.next()) {
        const chunk = [next.value];
        for (let bytes = sizeOf(next.value); bytes <= chunkBytes - pieceSize; ) {
          const more = ranges.next();
          if (more.done) break;
          chunk.push(more.value);
          bytes += sizeOf(more.value);
        }
        await this.#patiently(sent, () => sent.volume.read(chunk));
      }
    }
  }

  /** Sends the rest, once. Nothing writes to the volume meanwhile. @param deadlineMs longest duration @throws as `all` */
  async rest(sent: Sent, deadlineMs: number): Promise<void> {
    if (sent.volume.dirty.count === 0) return;
    const ranges = [...sent.volume.dirty.take()];
    try {
      await this.#once(sent, () => sent.volume.read(ranges), deadlineMs);
    } catch (error) {
      for (const { from, to } of ranges) sent.volume.dirty.mark(from, to - from);
      throw error;
    }
  }

  /** The disk or snapshot, as long as that move is in progress. @throws Rejection ABORTED DISK_CHANGED */
  async stillMoving(name: string, { volumeId }: VolumeAt): Promise<Moved> {
    const now = await movedKind(this.#control, name).load(name);
    if (now?.moving?.volumeId === volumeId) return now;
    throw new Rejection('ABORTED', 'DISK_CHANGED', `the move of ${name} has ended`, { resource: name });
  }

  /** Calls again while the receiver is away, for about half a minute. */
  async #patiently(sent: Sent, pieces: () => AsyncIterable<StoredPiece>): Promise<void> {
    const { clock, signal } = this.#control;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#once(sent, pieces, chunkMs);
      } catch (error) {
        const mayPass = isAway(error) || (error instanceof Rejection && busyReasons.has(error.reason));
        if (!mayPass || tries === triesMax) throw error;
        await clock.sleep(retryMs * 2 ** (tries - 1), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  async #once(
    { name, moving, cause }: Sent,
    pieces: () => AsyncIterable<StoredPiece>,
    deadlineMs: number,
  ): Promise<void> {
    const digest = createHash('sha256');
    async function* messages(): AsyncGenerator<Partial<ReceiveVolumeRequest>> {
      yield { name, volumeId: moving.volumeId };
      for await (const { part, offset, data } of pieces()) {
        digest.update(data);
        yield { part: part === 'data' ? 'DATA' : 'LAYER', offsetBytes: offset, data };
      }
    }
    const received = await this.at(moving.host, (link, signal) =>
      link.volumes.receiveVolume(messages(), { cause, signal, deadlineMs }),
    );
    if (digest.digest().equals(received.sha256)) return;
    throw new Rejection('DATA_LOSS', 'VOLUME_DAMAGED', `what disk host ${moving.host} received is not what was sent`, {
      resource: name,
      disk_host: hostNameOnWire(moving.host),
    });
  }
}

const sizeOf = ({ from, to }: { readonly from: number; readonly to: number }): number => to - from;

/** Refusals of a receiver that end by themselves: other volumes arrive, or an interrupted call has not ended there. */
const busyReasons: ReadonlySet<string> = new Set(['TOO_MANY_ARRIVALS', 'DISK_BUSY']);
