import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { outsideOfCalls, type RpcClient } from '@interlock/rpc';
import type { Clock, Logger } from '@interlock/runtime';
import type { VmHost } from '../guests/vm-host.ts';
import type { PlacedGuests, PlacementRef } from './placed-guests.ts';

/** How soon a report without an answer is repeated, in milliseconds. */
const againMs = 2_000;

/** Longest report, in milliseconds. */
const reportMs = 5_000;

interface ReportParts {
  readonly compute: Pick<RpcClient<typeof ComputeServiceDefinition>, 'reportGuestEnded'>;
  /** `vmHosts/{vm_host}` */
  readonly vmHost: string;
  readonly guests: Pick<PlacedGuests, 'isOn'>;
  readonly driver: Pick<VmHost, 'endOf' | 'isRunning'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when this process ends. */
  readonly signal: AbortSignal;
}

/** Reports guests that ended without a stop (VM-43). */
export class EndedGuests {
  readonly #parts: ReportParts;
  /** Machines with a report under way, by name: a guest that ends again meanwhile needs no second one. */
  readonly #reported = new Set<string>();

  constructor(parts: ReportParts) {
    this.#parts = parts;
  }

  /**
   * Reports the end of a guest until compute answers, or until the placement is stopped or replaced. An end with its host is left to the
   * survey of compute.
   */
  async report(ref: PlacementRef): Promise<void> {
    if (this.#reported.has(ref.vm)) return;
    this.#reported.add(ref.vm);
    try {
      await outsideOfCalls(() => this.#untilAnswered(ref));
    } finally {
      this.#reported.delete(ref.vm);
    }
  }

  async #untilAnswered(ref: PlacementRef): Promise<void> {
    const { compute, vmHost, guests, driver, clock, log, signal } = this.#parts;
    const { vm, number: placement } = ref;
    const { end, detail = '' } = await driver.endOf(vm);
    if (end !== 'GUEST_ENDED') return;
    let isFirst = true;
    while (!signal.aborted && guests.isOn(ref) && !(await driver.isRunning(vm))) {
      try {
        const request = { virtualMachine: vm, vmHost, placement, detail };
        await compute.reportGuestEnded(request, { signal, deadlineMs: reportMs });
        return;
      } catch (error) {
        if (isFirst) log.warn('the end of a guest is not reported yet; it is tried again', { vm, error });
        isFirst = false;
        await clock.sleep(againMs, signal);
      }
    }
  }
}
