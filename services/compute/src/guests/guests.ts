import type { CursorMove } from '@interlock/event-store';
import type { GuestDisk, GuestEnding, GuestIo, GuestPlan, JournalPage, StopOrder, VmHost } from './vm-host.ts';

/** A machine, for a call about its guest. */
export interface MachineAtHost {
  /** Full name. */
  readonly vm: string;
  /** Unique id of the machine. */
  readonly machineId: string;
  /** Where its newest guest was started; absent before its first start, and where this process runs the guests. */
  readonly placement?: { readonly host: string; readonly number: number };
}

/** A machine, for a call about its guest. */
export const machineAt = (
  vm: string,
  { uniqueId, placement }: { readonly uniqueId: string } & Pick<MachineAtHost, 'placement'>,
): MachineAtHost => ({ vm, machineId: uniqueId, ...(placement === undefined ? {} : { placement }) });

/** What a look at a guest found: `unknown` if its host does not respond. */
export type GuestCondition = 'running' | 'gone' | 'unknown';

/** A machine with a guest, or with files of earlier ones. */
export interface FoundGuest {
  /** Full name of its machine. */
  readonly vm: string;
  readonly isRunning: boolean;
  /** Unique id of the machine, and the placement of its newest guest there; absent where this process runs the guests. */
  readonly at?: { readonly machineId: string; readonly host: string; readonly number: number };
  /** Ends this guest at once, and never a later one of the same machine. Resolves once it is gone. */
  end(): Promise<void>;
  /** Removes the files of the machine there. Its guest has ended. */
  forget(): Promise<void>;
}

/** The host of a start. */
export interface ChosenHost {
  /** `vmHosts/{vm_host}`. */
  readonly host: string;
  /** What the commit that places the machine there requires: it fails with a `CursorConflict` if the host takes nothing new any more. */
  readonly guard: CursorMove;
}

/** All guests at one moment. */
export interface GuestSurvey {
  /** What hosts that respond have. */
  readonly found: readonly FoundGuest[];
  look(machine: MachineAtHost): Promise<GuestCondition>;
  /** What its guests counted; undefined if none was started, or the host does not respond. */
  ioOf(machine: MachineAtHost): Promise<GuestIo | undefined>;
  /** Full names of the disks of its guest; none if it does not run, or where this process runs the guests: there no call is lost. */
  disksOf(machine: MachineAtHost): readonly string[];
}

/**
 * The guests of all machines: those of this process's folder (`ownGuests`), or those of VM hosts (`FleetGuests`). It decides nothing.
 */
export interface Guests {
  /** False: nothing has to be shut down, so a machine is off as soon as that is decided. */
  readonly hasGuests: boolean;
  /**
   * Chooses the host of a start.
   * @param last the host where the machine ran last: `vmHosts/{vm_host}`
   * @returns undefined where this process runs the guests
   * @throws Rejection UNAVAILABLE NO_VM_HOST_OPEN
   */
  choose(last: string | undefined): Promise<ChosenHost | undefined>;
  /**
   * Resolves once the guest runs.
   * @throws Error when it does not come up, or is stopped meanwhile; HostAway if its host does not respond or takes no more;
   *   PlacementOutdated if the host knows a later placement
   */
  start(machine: MachineAtHost, plan: GuestPlan): Promise<void>;
  /**
   * Ends the guest of this placement and of every earlier one. Never waits much longer than `graceMs`, and 2 s for the host.
   * @returns `gone` also if there was none; `unknown` if its host does not respond or is lost: the guest may run
   */
  stop(machine: MachineAtHost, order: StopOrder): Promise<'gone' | 'unknown'>;
  /**
   * Gives a running guest one more disk.
   * @param order version of the machine that this follows from: a VM host carries out nothing about a disk that is older than the last
   * @throws Error when there is no guest
   */
  attach(machine: MachineAtHost, disk: GuestDisk, order: number): Promise<void>;
  /**
   * Takes a disk from a guest; nothing happens when there is no guest, or no such disk. A host that does not respond is asked again after
   * a survey. @param order as of `attach`
   */
  detach(machine: MachineAtHost, disk: string, order: number): Promise<void>;
  look(machine: MachineAtHost): Promise<GuestCondition>;
  /** As of a survey, now. */
  ioOf(machine: MachineAtHost): Promise<GuestIo | undefined>;
  /**
   * What its guests recorded at this host after a place (`''`: from the oldest entry on); undefined if none was started there.
   * @throws HostAway
   */
  journalOf(machine: MachineAtHost, after: string, limit: number): Promise<JournalPage | undefined>;
  /** Removes the files of a deleted machine. Its guest has ended. A host that does not respond is asked again after a survey. */
  forget(machine: MachineAtHost): Promise<void>;
  survey(): Promise<GuestSurvey>;
  /** How a guest ended that no stop ended. @throws HostAway */
  endOf(machine: MachineAtHost): Promise<GuestEnding>;
  /** Calls `listener` with a machine whose guest ended without a stop: at least once, maybe late. VM hosts report to the API instead. */
  onEnded(listener: (vm: string) => void): void;
}

/** The host of a machine does not respond, or takes no more guests. */
export class HostAway extends Error {
  override readonly name = 'HostAway';
  /** `vmHosts/{vm_host}`. */
  readonly host: string;
  constructor(host: string, options?: ErrorOptions) {
    super(`${host} does not respond, or takes no more guests`, options);
    this.host = host;
  }
}

/** A VM host knows a later placement of the machine: another replica works on it, or the store was restored to an earlier moment. */
export class PlacementOutdated extends Error {
  override readonly name = 'PlacementOutdated';
  /** Number of the newest placement that the host knows. */
  readonly newest: number;
  constructor(newest: number, options?: ErrorOptions) {
    super(`the VM host knows placement ${newest} of the machine`, options);
    this.newest = newest;
  }
}

/** The guests in the folder of this process. */
export const ownGuests = (driver: VmHost): Guests => {
  const look = async ({ vm }: MachineAtHost): Promise<GuestCondition> =>
    (await driver.isRunning(vm)) ? 'running' : 'gone';
  const ioOf = ({ vm, machineId }: MachineAtHost): Promise<GuestIo | undefined> => driver.ioOf(vm, machineId);
  return {
    hasGuests: driver.hasGuests,
    choose: async () => undefined,
    start: ({ vm }, plan) => driver.start(vm, plan),
    async stop({ vm }, order) {
      await driver.stop(vm, order);
      return 'gone';
    },
    attach: ({ vm }, disk) => driver.attach(vm, disk),
    detach: ({ vm }, disk) => driver.detach(vm, disk),
    look,
    ioOf,
    journalOf: ({ vm, machineId }, after, limit) => driver.journalOf(vm, machineId, after, limit),
    forget: ({ vm }) => driver.forget(vm),
    async survey() {
      const running = await driver.runningGuests();
      const found = running.map(({ vm, end }) => ({ vm, isRunning: true, end, forget: () => driver.forget(vm) }));
      return { found, look, ioOf, disksOf: () => [] };
    },
    endOf: ({ vm }) => driver.endOf(vm),
    onEnded: (listener) => driver.onEnded(listener),
  };
};
