import type { JsonObject } from '@bufbuild/protobuf';
import { type Cause, type RecordedEvent, Rejection, type StreamName } from '@interlock/event-store';
import type { PowerRecord } from '@interlock/lab';
import { MachineLog } from '@interlock/lab/judge/recording/machine-log';
import type { Caller } from '../request/calls.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';

/** Pages of one reading: a cloud with many events is read in steps, so that the page shows the first of them soon. */
const PAGES_MAX = 20;

/** The history of machines, from the stored events of compute. */
export class MachineEvents {
  readonly #call: Caller['call'];
  #log = new MachineLog();
  /** Position of the last event that was read; undefined before the first reading. */
  #position: number | undefined;

  constructor({ call }: Pick<Caller, 'call'>) {
    this.#call = call;
  }

  /**
   * Reads new events; the first time those since `fromMs`.
   * @param fromMs milliseconds since the epoch: what was before is forgotten
   * @returns names of the machines that have new events
   * @throws Rejection, RpcFailure
   */
  async read(fromMs: number): Promise<ReadonlySet<string>> {
    const changed = new Set<string>();
    try {
      this.#position ??= await this.#positionAt(fromMs);
      for (let pages = 0; pages < PAGES_MAX; pages++) {
        const { events, head } = await this.#page(this.#position, PAGE_SIZE_MAX);
        for (const event of events) {
          this.#log.apply(event);
          if (event.stream.startsWith('vm-')) changed.add(event.stream.slice('vm-'.length));
        }
        this.#position = events.at(-1)?.position ?? this.#position;
        if (events.length === 0 || this.#position >= head) break;
      }
    } catch (error) {
      // Another cloud, or this one from a backup: what was read of it is not its history.
      if (error instanceof Rejection && error.reason === 'FEED_ENDS_EARLIER') {
        this.#position = undefined;
        this.#log = new MachineLog();
      }
      throw error;
    }
    this.#log.forget(fromMs);
    return changed;
  }

  /** Whether there are events that were not read. @throws Rejection, RpcFailure */
  async hasNew(): Promise<boolean> {
    const position = this.#position ?? 0;
    return (await this.#page(position, 1)).head > position;
  }

  /** Power states of a machine, by its full name, oldest first. */
  of(machine: string): readonly PowerRecord[] {
    return this.#log.of(machine).power;
  }

  /** Position before the first event since a time, by halving: the feed has no index of times. */
  async #positionAt(fromMs: number): Promise<number> {
    const { head } = await this.#page(0, 1);
    let [before, after] = [0, head];
    while (after - before > PAGE_SIZE_MAX) {
      const middle = Math.floor((before + after) / 2);
      const { events } = await this.#page(middle, 1);
      if ((events[0]?.time ?? 0) < fromMs) before = middle;
      else after = middle;
    }
    return before;
  }

  async #page(afterPosition: number, pageSize: number): Promise<{ events: readonly RecordedEvent[]; head: number }> {
    const method = methodOf(Service.messaging, 'ReadEvents');
    const page = await this.#call('compute', method, { afterPosition: String(afterPosition), pageSize });
    return { events: elementsIn(method, page).map(recorded), head: Number(page.headPosition ?? 0) };
  }
}

/** An event as the store of its service has it. */
const recorded = (event: JsonObject): RecordedEvent => ({
  position: Number(event.position),
  stream: String(event.stream) as StreamName,
  version: Number(event.version),
  id: String(event.eventId),
  type: String(event.type),
  schema: Number(event.schema ?? 1),
  data: isObject(event.data) ? event.data : {},
  cause: (isObject(event.meta) ? event.meta : {}) as unknown as Cause,
  time: Date.parse(String(event.eventTime)),
});
