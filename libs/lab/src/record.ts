/**
 * The record of a run, as plain data. Targets produce it, the evidence folder stores it, verdict and report use nothing else.
 * Times are milliseconds since the Unix epoch by the clock of the run (virtual in the simulation).
 */
export interface RunRecord {
  readonly run: RunFacts;
  readonly steps: readonly StepRecord[];
  readonly machines: readonly MachineRecord[];
  /** Every read, write and flush of every guest, by completion. */
  readonly io: readonly IoRecord[];
  /** Observations for proofs that no machine records. */
  readonly sightings: readonly SightingRecord[];
  readonly content: ContentRecord;
  /** Results of the oracle for guarantees and rules, from the recorded events. */
  readonly guarantees: readonly GuaranteeRecord[];
  /** What the oracle and the power records derive from; absent if nothing was read. */
  readonly raw?: RawRecord;
}

/** What a verdict is judged from again: what services stored, and what was done to them. Plain data. */
export interface RawRecord {
  /** Every event of every service since the cloud was created, in the order of the feeds, without hashes and certificates. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  /** Disturbances, settings and the judged time, as the oracle of the target reads them. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Facts about the whole run. */
export interface RunFacts {
  readonly id: string;
  readonly target: 'local' | 'existing' | 'kubernetes' | 'simulated';
  readonly seed: number;
  /** When the timeline started and ended; undefined if it never did. */
  readonly startedMs?: number;
  readonly endedMs?: number;
  /** Why the set-up or a steady check failed, a step came too late, or an undo failed; empty if nothing did. */
  readonly problems: readonly string[];
  /** The abort condition that was met, as in the file. */
  readonly abortedBy?: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** A step of the timeline, or the undo of one (`undoes`). */
export interface StepRecord {
  readonly name: string;
  readonly action: string;
  readonly targets: readonly string[];
  readonly undoes?: string;
  readonly plannedMs: number;
  readonly invokedMs: number;
  readonly doneMs?: number;
  /** When it took effect: the commit of the service that owns the key, or the end of the process. The t0 of a loss. */
  readonly effectMs?: number;
  readonly traceId?: string;
  /** Key versions that it took away. */
  readonly keyVersions?: readonly string[];
  /** `disk-host-0` for the target `disk-host-of-premium`. */
  readonly hosts?: readonly string[];
  /** Operations of the user that a service refused because a key was lost: no failure. The oracle judges each. */
  readonly refused?: readonly RefusalRecord[];
  /** Why it failed. */
  readonly error?: string;
}

/** A user's operation that a service refused because a set could not use a key, as the service said it. */
export interface RefusalRecord {
  /** When the refusal arrived. */
  readonly atMs: number;
  readonly reason: string;
  /** Full names; empty if the refusal does not name it. */
  readonly set: string;
  readonly keyVersion: string;
  readonly message: string;
}

/** Record of a machine. */
export interface MachineRecord {
  /** Full name. */
  readonly name: string;
  readonly group: string;
  readonly disks: readonly DiskRecord[];
  /** Each change of its power state, oldest first, as compute stored it. */
  readonly power: readonly PowerRecord[];
  readonly starts: readonly StartRecord[];
  /** The VM hosts at which its guest was started, oldest first; absent without VM hosts, and in earlier evidence. */
  readonly placements?: readonly PlacementRecord[];
  /** Last lines of the serial console of a Linux in QEMU, if its host is this computer. */
  readonly console?: readonly string[];
}

export interface DiskRecord {
  /** Full name. */
  readonly name: string;
  readonly class: string;
  /** Name of the key in the experiment, or `platform`. */
  readonly key: string;
  /** Key version when the timeline started; empty under a platform key. */
  readonly keyVersion: string;
  /** Its disk host when the timeline started: `disk-host-0`, also if that is the process of disk. Absent in earlier evidence. */
  readonly diskHost?: string;
}

/** A placement of a machine at a VM host, as compute stored it before it started the guest. */
export interface PlacementRecord {
  readonly atMs: number;
  /** `vm-host-0` */
  readonly vmHost: string;
  /** One higher with each placement of the machine. */
  readonly number: number;
}

export interface PowerRecord {
  readonly atMs: number;
  readonly state: 'starting' | 'running' | 'stopping' | 'stopped' | 'deallocated' | 'start-failed' | 'deleted';
  /** Loss that caused it; empty if a user did, or the VM host. */
  readonly reason: string;
  readonly traceId: string;
  /** Of a stop: what ended the machine, if that was its guest or its VM host: `HOST_LOST`. */
  readonly end?: string;
  /** Of a machine that is off: its VM host did not say that the guest is gone, so every disk was closed first. */
  readonly isFenced?: true;
}

export interface StartRecord {
  readonly requestedMs: number;
  readonly outcome: 'running' | 'failed' | 'in-progress';
  readonly endedMs?: number;
  /** Why it failed; empty otherwise. */
  readonly reason: string;
}

/** One operation of a guest. */
export interface IoRecord {
  readonly machine: string;
  readonly disk: string;
  /** The VM host where the guest ran, `vm-host-0`; absent if compute ran it, or if the journal was read through compute. */
  readonly vmHost?: string;
  readonly op: 'read' | 'write' | 'flush';
  readonly seq: number;
  readonly invokedMs: number;
  readonly completedMs: number;
  /** Time of the monotonic clock, which changes of the wall clock do not affect. */
  readonly invokedMonotonicMs: number;
  readonly completedMonotonicMs: number;
  readonly ok: boolean;
  /** Empty if ok. */
  readonly reason: string;
}

/** An observation outside of the machines that shows that a fault took effect. All of a run are recorded, by time. */
export interface SightingRecord {
  readonly see: 'unwrap-refused' | 'process-gone' | 'calls-fail';
  /** The refused key version, as in `StepRecord.keyVersions`; or the part of the cloud. */
  readonly subject: string;
  readonly atMs: number;
  /** What was seen, with the caller: `set premium: KEY_DISABLED`. */
  readonly seen: string;
}

/** The comparison of contents at the end of the run. `lost`: acknowledged bytes that were not found. */
export interface ContentRecord {
  readonly disksCompared: number;
  readonly bytesCompared: number;
  readonly bytesLost: number;
}

/** A rule that the oracle checked. */
export interface GuaranteeRecord {
  /** `G1` … `G10` or a rule such as `CMK-100`. */
  readonly rule: string;
  /** What it was checked on: a machine, a set, a disk. */
  readonly subject: string;
  readonly holds: boolean;
  readonly seen: string;
}
