import { Rejection } from '@interlock/event-store';
import type { GuestDisk, GuestPlan, StopOrder, VmHost } from '../guests/vm-host.ts';
import type { Placement, Placements } from './placements.ts';

/** A placement of a machine, as a call names it. */
export type PlacementRef = Omit<Placement, 'isStopped'>;

/**
 * The guests of a VM host, each of one placement. A delayed start never follows a stop, and a delayed stop never ends a later guest (G2).
 *
 * What is written when, and why a crash between two steps is safe:
 *
 * | Call | Order | After a crash in between |
 * | --- | --- | --- |
 * | start of n | the earlier guest ends; n is stored as started; the guest starts | no guest runs under the number of another: n is not known, or it is and has none, and the repeated call starts it |
 * | stop of n | n is stored as stopped; the guest ends | no start of n is accepted any more, and `recover` ends the guest |
 * | forget | nothing runs; the placement is removed; the files are removed | files are left without a placement, and the next machine of that name removes them |
 */
export class PlacedGuests {
  readonly #driver: VmHost;
  readonly #placements: Placements;
  readonly #capacity: number;
  /** Starts under way: their guests may not be up yet. */
  readonly #starts = new Map<string, Promise<void>>();
  /** Stops under way: no guest of the machine starts before they are over. */
  readonly #endings = new Map<string, Set<Promise<void>>>();
  /** Orders of the last calls about the disks of the newest guests, by machine and disk. */
  readonly #orders = new Map<string, Map<string, number>>();

  /** @param capacity most guests at once */
  constructor(driver: VmHost, placements: Placements, capacity: number) {
    this.#driver = driver;
    this.#placements = placements;
    this.#capacity = capacity;
  }

  /** Every placement that this host knows, in order of names. */
  all(): readonly Placement[] {
    return this.#placements.all();
  }

  /** The newest placement of a machine that this host knows. */
  of(vm: string): Placement | undefined {
    return this.#placements.of(vm);
  }

  /** The placement that runs or ran here last, if it is that one. */
  find(ref: PlacementRef): Placement | undefined {
    const known = this.#placements.of(ref.vm);
    return known !== undefined && isOf(known, ref) && known.number === ref.number ? known : undefined;
  }

  /** Whether a guest of that placement runs. */
  async isRunning(ref: PlacementRef): Promise<boolean> {
    return this.find(ref) !== undefined && (await this.#driver.isRunning(ref.vm));
  }

  /** What the machine has here is of that placement, and was not stopped. */
  isOn(ref: PlacementRef): boolean {
    return this.find(ref)?.isStopped === false;
  }

  /**
   * Resolves once the guest runs. Repeated, it joins the start under way, or finds the guest. The guest of an earlier placement ends
   * first, also that of an earlier machine of this name.
   * @throws Rejection FAILED_PRECONDITION PLACEMENT_OUTDATED, GUEST_STOPPED; RESOURCE_EXHAUSTED VM_HOST_FULL; Error of the driver
   */
  async start(ref: PlacementRef, plan: GuestPlan): Promise<void> {
    const { vm } = ref;
    let ended: Placement | undefined;
    for (;;) {
      const known = this.#placements.of(vm);
      refuseOutdated(known, ref);
      if (known?.isStopped && this.find(ref)) throw stopped(ref);
      if (this.find(ref)) {
        const started = this.#starts.get(vm);
        if (started) return await started;
        if (await this.#driver.isRunning(vm)) return;
      }
      const isFree = known === ended && this.#placements.of(vm) === known;
      if (isFree && !this.#endings.has(vm) && !this.#starts.has(vm)) break;
      ended = known;
      await this.#end(vm, { graceMs: 0 });
      await Promise.allSettled([...(this.#endings.get(vm) ?? []), this.#starts.get(vm)]);
    }
    // From here to the call of the driver nothing else runs in this process, so a stop that follows ends this start.
    if (this.#countOthers(vm) >= this.#capacity) throw full(this.#capacity);
    this.#placements.put({ ...ref, isStopped: false });
    this.#orders.delete(vm);
    const started = this.#driver.start(vm, plan).finally(() => this.#starts.delete(vm));
    this.#starts.set(vm, started);
    return await started;
  }

  /**
   * Ends the guest of this placement, and of every earlier one. Resolves once it is gone, also if there was none.
   * @throws Rejection FAILED_PRECONDITION PLACEMENT_OUTDATED
   */
  async stop(ref: PlacementRef, order: StopOrder): Promise<void> {
    const known = this.#placements.of(ref.vm);
    // The guest of another machine of this name has nothing to do with this one, which has none here.
    if (known !== undefined && !isOf(known, ref) && !known.isStopped) return;
    refuseOutdated(known, ref);
    try {
      if (!this.find(ref)?.isStopped) this.#placements.put({ ...ref, isStopped: true });
    } finally {
      // Also if the storage is full: the caller gets the error, and the guest ends.
      await this.#end(ref.vm, order);
    }
  }

  /**
   * Gives a running guest one more disk, unless a call about that disk with a higher order arrived before: then the caller has given this
   * one up.
   * @throws Rejection FAILED_PRECONDITION PLACEMENT_OUTDATED, GUEST_NOT_RUNNING
   */
  async attach(ref: PlacementRef, disk: GuestDisk, order: number): Promise<void> {
    refuseOutdated(this.#placements.of(ref.vm), ref);
    if (!(await this.isRunning(ref))) throw notRunning(ref);
    if (this.#isNext(ref, disk.disk, order)) await this.#driver.attach(ref.vm, disk);
  }

  /** Takes a disk from a guest, if it has one of that placement. @param order as of `attach` @throws Rejection FAILED_PRECONDITION PLACEMENT_OUTDATED */
  async detach(ref: PlacementRef, disk: string, order: number): Promise<void> {
    refuseOutdated(this.#placements.of(ref.vm), ref);
    if (this.find(ref) && this.#isNext(ref, disk, order)) await this.#driver.detach(ref.vm, disk);
  }

  /** Notes a call about a disk. @returns whether no later one arrived before */
  #isNext({ vm }: PlacementRef, disk: string, order: number): boolean {
    const orders = this.#orders.get(vm) ?? new Map<string, number>();
    if (order < (orders.get(disk) ?? 0)) return false;
    this.#orders.set(vm, orders.set(disk, order));
    return true;
  }

  /**
   * Removes the files of a machine. Nothing happens while its guest runs, starts or ends, or if they are another machine's.
   * @throws Rejection FAILED_PRECONDITION PLACEMENT_OUTDATED
   */
  async forget(ref: PlacementRef): Promise<void> {
    const { vm } = ref;
    const known = this.#placements.of(vm);
    refuseOutdated(known, ref);
    const isBusy = (): boolean => this.#starts.has(vm) || this.#endings.has(vm) || this.#placements.of(vm) !== known;
    if (known === undefined || !isOf(known, ref) || isBusy()) return;
    if ((await this.#driver.isRunning(vm)) || isBusy()) return;
    this.#placements.remove(vm);
    this.#orders.delete(vm);
    await this.#driver.forget(vm);
  }

  /** Ends every guest: this host is lost by the record of compute, and its machines have other guests or none. @throws Error if one was not ended */
  async endAll(): Promise<void> {
    const ended = await Promise.allSettled(this.all().map((known) => this.stop(known, { graceMs: 0 })));
    const failure = ended.find((one) => one.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  /**
   * Ends what a process before this one left: guests that were to end, and guests of no known placement, which no call could name.
   * @returns the placements whose guest ended while no process ran here
   */
  async recover(): Promise<readonly Placement[]> {
    for (const { vm, end } of await this.#driver.runningGuests()) if (!this.#placements.of(vm)) await end();
    const gone: Placement[] = [];
    for (const known of this.all()) {
      if (known.isStopped) await this.#end(known.vm, { graceMs: 0 });
      // From this look on, the driver reports its end.
      else if (!(await this.#driver.isRunning(known.vm))) gone.push(known);
    }
    return gone;
  }

  /** The guests that may run, without that of one machine. */
  #countOthers(vm: string): number {
    return this.all().filter((known) => !known.isStopped && known.vm !== vm).length;
  }

  async #end(vm: string, order: StopOrder): Promise<void> {
    const endings = this.#endings.get(vm) ?? new Set();
    this.#endings.set(vm, endings);
    const ending = this.#driver.stop(vm, order).finally(() => {
      endings.delete(ending);
      if (endings.size === 0) this.#endings.delete(vm);
    });
    endings.add(ending);
    await ending;
  }
}

const isOf = (known: Placement, { machineId }: PlacementRef): boolean => known.machineId === machineId;

const refuseOutdated = (known: Placement | undefined, ref: PlacementRef): void => {
  if (known !== undefined && isOf(known, ref) && known.number > ref.number) {
    throw new Rejection(
      'FAILED_PRECONDITION',
      'PLACEMENT_OUTDATED',
      `this VM host knows placement ${known.number} of ${ref.vm}; the call is of placement ${ref.number}`,
      { vm: ref.vm, placement: String(known.number) },
    );
  }
};

const stopped = ({ vm, number }: PlacementRef): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'GUEST_STOPPED',
    `placement ${number} of ${vm} was stopped: it starts under a new one`,
    { vm },
  );

const notRunning = ({ vm, number }: PlacementRef): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'GUEST_NOT_RUNNING', `no guest of placement ${number} of ${vm} runs here`, {
    vm,
  });

const full = (capacity: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'VM_HOST_FULL',
    `this VM host has as many guests as it takes (${capacity}): start the machine at another one, or raise GUEST_CAPACITY`,
  );
