import { StringDecoder } from 'node:string_decoder';
import type { Clock } from '@interlock/runtime/clock';
import type { Journal, JournalEntry } from '../guest/journal.ts';
import type { GuestDisk } from '../guests/vm-host.ts';
import { type FoundFile, isAsWritten, newestIn, recordBytes, recordsPerFile, serialOf } from './records.ts';

/** Most characters of a line; the guest is not trusted, and what is longer is dropped. */
const lineMax = 512;
/** A block of ext4: what a damaged file system has lost at least. */
const blockBytes = 4_096;
/** Files of records whose digests are kept while a disk is verified. */
const filesMax = 16;

/** What the journal of a guest needs. */
interface AgentParts {
  readonly machineId: string;
  /** The disks that the machine has now. */
  readonly disks: () => readonly GuestDisk[];
  readonly journal: Journal;
  /** The journal of earlier runs of this machine. */
  readonly history: readonly JournalEntry[];
  readonly clock: Clock;
  /** The guest has booted. */
  readonly onUp: () => void;
}

interface Started {
  readonly seq: number;
  readonly invoked: Pick<JournalEntry, 'invokedAt' | 'invokedMonotonicMs'>;
}

/**
 * Reads what the guest image sends over its virtio-serial port, and journals it with the clock of the host. A line is one of
 *
 *     up                                  the guest has booted
 *     fsck <disk> <exit status>           e2fsck -f -n of a file system that has replayed its journal
 *     found <disk> <file> <bytes> <sha256>   a file of records, after the boot
 *     verified <disk>                     these were all files of the disk
 *     begin <disk> <seq>                  the append of a record starts
 *     done <disk> <seq>                   its fsync returned
 *     failed <disk> <seq>                 the append or the fsync failed
 *
 * Other lines are ignored. Every entry is journalled later than it happened, by the time that the line takes.
 */
export class GuestAgent {
  readonly #parts: AgentParts;
  readonly #text = new StringDecoder('utf8');
  readonly #found = new Map<string, FoundFile[]>();
  readonly #started = new Map<string, Started>();
  #rest = '';

  constructor(parts: AgentParts) {
    this.#parts = parts;
  }

  /** Takes bytes as they arrive. */
  receive(bytes: Buffer): void {
    const lines = `${this.#rest}${this.#text.write(bytes)}`.split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, lineMax);
    for (const line of lines) if (line.length <= lineMax) this.#line(line.trim().split(' '));
  }

  /** A disk that the machine did not have before: what is on it was not written by this machine. */
  adopt(disk: GuestDisk): void {
    this.#append(disk, { op: 'adopt', offset: 0, length: 0, seq: 0 }, this.#now(), { ok: true });
  }

  #line([word, serial = '', ...rest]: readonly string[]): void {
    if (word === 'up') this.#parts.onUp();
    const disk = this.#parts.disks().find((one) => serialOf(one) === serial);
    if (disk === undefined) return;
    const [first = ''] = rest;
    switch (word) {
      case 'fsck':
        this.#checked(disk, first);
        return;
      case 'found':
        this.#foundFile(serial, rest);
        return;
      case 'verified':
        this.#verified(disk, serial);
        return;
      case 'begin':
        this.#started.set(serial, { seq: Number(first), invoked: this.#now() });
        return;
      case 'done':
      case 'failed':
        this.#appended(disk, serial, Number(first), word === 'done');
        return;
    }
  }

  /** A file system is as it should be if a forced check after the replay of its journal finds nothing. */
  #checked(disk: GuestDisk, status: string): void {
    const isClean = status === '0';
    const outcome = isClean ? { ok: true } : { ok: false, reason: 'FILE_SYSTEM_DAMAGED' };
    this.#append(disk, { op: 'verify', offset: 0, length: isClean ? 0 : blockBytes, seq: 0 }, this.#now(), outcome);
  }

  #foundFile(serial: string, [number = '', bytes = '', digest = '']: readonly string[]): void {
    const files = this.#found.get(serial) ?? [];
    const file = { number: Number(number), bytes: Number(bytes), digest };
    if (files.length < filesMax && Number.isSafeInteger(file.number) && file.bytes <= recordsPerFile * recordBytes) {
      this.#found.set(serial, [...files, file]);
    }
  }

  #verified(disk: GuestDisk, serial: string): void {
    const files = this.#found.get(serial) ?? [];
    this.#found.delete(serial);
    const { machineId, history } = this.#parts;
    const own = history.filter((entry) => entry.disk === disk.disk);
    const since = own.slice(own.findLastIndex(({ op }) => op === 'adopt') + 1);
    const acknowledged = since.findLast(({ op, ok }) => op === 'write' && ok)?.seq ?? 0;
    const outcome = isAsWritten(machineId, serial, files, acknowledged)
      ? { ok: true }
      : { ok: false, reason: 'CONTENT_MISMATCH' };
    const length = files.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#append(disk, { op: 'verify', offset: 0, length, seq: newestIn(files) }, this.#now(), outcome);
  }

  #appended(disk: GuestDisk, serial: string, seq: number, ok: boolean): void {
    const started = this.#started.get(serial);
    if (started?.seq !== seq || !Number.isSafeInteger(seq)) return;
    const about = { op: 'write', offset: (seq - 1) * recordBytes, length: recordBytes, seq } as const;
    this.#append(disk, about, started.invoked, ok ? { ok } : { ok, reason: 'GUEST_IO_ERROR' });
  }

  #now(): Started['invoked'] {
    const { clock } = this.#parts;
    return { invokedAt: clock.now(), invokedMonotonicMs: clock.monotonicMs() };
  }

  #append(
    { disk }: GuestDisk,
    about: Pick<JournalEntry, 'op' | 'offset' | 'length' | 'seq'>,
    invoked: Started['invoked'],
    outcome: Pick<JournalEntry, 'ok' | 'reason'>,
  ): void {
    const { journal, clock } = this.#parts;
    const completed = { completedAt: clock.now(), completedMonotonicMs: clock.monotonicMs() };
    journal.append({ disk, ...about, ...invoked, ...completed, ...outcome });
  }
}
