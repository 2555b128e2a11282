import type { RecordedEvent } from '@interlock/event-store';
import type { Effect, SightingRecord, Step } from '@interlock/lab';
import type { Terms } from '@interlock/lab/judge/invariants/bounds';
import type { Disturbance } from '@interlock/lab/judge/recording/replay';
import type { ClientTls, Workload } from '@interlock/rpc';
import type { Clients } from '../../cloud/clients.ts';
import type { EventFeeds } from './event-feed.ts';
import type { GuestJournals } from './guest-journals.ts';
import type { ClockShift } from './shifted-times.ts';

/** The faults that a cloud can inject: of processes, connections, clocks and storage. */
export interface Faults {
  plan(step: Step): Promise<Readonly<Record<string, unknown>>>;
  carryOut(step: Step, data: Readonly<Record<string, unknown>>): Promise<Effect>;
  undo(action: string, data: Readonly<Record<string, unknown>>): Promise<Effect>;
  /** Parts that did not work, and when. */
  disturbances(): readonly Disturbance[];
  /** Processes that were seen to end, and calls that failed because of a fault. */
  sightings(): readonly SightingRecord[];
  /** Wall clocks that were wrong, and when. */
  shifts(): readonly ClockShift[];
  close(): Promise<void>;
}

/** A cloud of real processes, as an experiment reaches it. */
export interface CloudAccess {
  /** As its administrator. */
  readonly clients: Clients;
  /** For reading disks; undefined if they cannot be reached from here: then the reads of guests count. */
  readonly tls: ClientTls | undefined;
  readonly feeds: EventFeeds;
  /** Opens the journals of machines, by full names. */
  readonly journals: (machines: readonly string[]) => GuestJournals;
  readonly terms: Terms;
  readonly versions: Readonly<Record<string, string>>;
  readonly faults: Faults;
  /** Receives all events of a service before the lab is closed. Those of the run are stored at `sinceMs` or later. */
  readonly keepEvents?: (service: Workload, events: readonly RecordedEvent[], sinceMs: number) => void;
}
