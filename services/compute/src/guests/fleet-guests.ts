import { VmHostServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { type GuestAtHost, GuestRef } from '@interlock/contracts/interlock/compute/v1/guests.ts';
import { type CursorMove, Rejection } from '@interlock/event-store';
import { ProcessLink, type Seams } from '@interlock/host';
import { type CallOptions, type RpcClient, RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { chooseVmHost } from '../fleet/choice.ts';
import type { KnownVmHost, VmHosts } from '../fleet/vm-hosts.ts';
import { limiter } from '../limiter.ts';
import { diskOnWire, endingOf, ioOfWire, pageOfWire, planOnWire } from './guest-wire.ts';
import {
  type ChosenHost,
  type FoundGuest,
  type GuestCondition,
  type GuestSurvey,
  type Guests,
  HostAway,
  type MachineAtHost,
  PlacementOutdated,
} from './guests.ts';
import type { JournalPage, StopOrder } from './vm-host.ts';
import { type GuestDisk, type GuestEnding, type GuestIo, type GuestPlan, GuestStartError } from './vm-host.ts';

/** How long a host may take for a stop besides the grace of the guest: then the guest counts as one that may run (G2). In milliseconds. */
const stopMs = 2_000;
/** Longest start: the boot of a machine in QEMU, after those that are in front of it. */
const startMs = 120_000;
/** Longest list or description of guests. */
const lookMs = 5_000;
/** A host that did not respond to a start, or took nothing more, gets no other start for so long. */
const avoidMs = 10_000;
/** So long a start counts for its host beside the machines that were counted there last. */
const chosenMs = 3_000;
/** Choices of a host that another process closes meanwhile. */
const choicesMax = 3;
/** Guests described at once. */
const looksMax = 64;
/** Guests of a page of a list. */
const pageSize = 1_000;

interface FleetGuestParts {
  readonly hosts: VmHosts;
  /** As `placementGuard`. */
  readonly guard: (host: string) => Promise<CursorMove>;
  readonly connectTo: Seams<unknown>['connectTo'];
  readonly clock: Clock;
  /** Aborted when this process ends. */
  readonly signal: AbortSignal;
}

type HostClient = RpcClient<typeof VmHostServiceDefinition>;

interface Link {
  readonly link: ProcessLink;
  readonly client: HostClient;
}

/** The guests at VM hosts, each reached at the address that it registered. */
export class FleetGuests implements Guests {
  readonly hasGuests = true;
  readonly #parts: FleetGuestParts;
  readonly #links = new Map<string, Link>();
  readonly #looks = limiter(looksMax);
  /** Monotonic times until which a host gets no start. */
  readonly #avoided = new Map<string, number>();
  /** The newest choices, with their monotonic times. */
  #chosen: readonly { readonly host: string; readonly atMs: number }[] = [];

  constructor(parts: FleetGuestParts) {
    this.#parts = parts;
  }

  async choose(last: string | undefined): Promise<ChosenHost> {
    const { hosts, guard, clock } = this.#parts;
    const nowMs = clock.monotonicMs();
    this.#chosen = this.#chosen.filter(({ atMs }) => nowMs - atMs < chosenMs);
    for (let tries = 1; tries <= choicesMax; tries += 1) {
      if (tries > 1) await hosts.refresh();
      const host = chooseVmHost(this.#eligible(nowMs), { last });
      if (host === undefined) continue;
      try {
        const chosen = { host, guard: await guard(host) };
        this.#chosen = [...this.#chosen, { host, atMs: nowMs }];
        return chosen;
      } catch (error) {
        // It was closed since the hosts were read.
        if (!(error instanceof Rejection && error.reason === 'VM_HOST_NOT_OPEN')) throw error;
      }
    }
    throw noneOpen();
  }

  async start(machine: MachineAtHost, plan: GuestPlan): Promise<void> {
    const { host } = placed(machine);
    try {
      await this.#call(machine, { deadlineMs: startMs }, (client, options) =>
        client.startGuest({ guest: refOf(machine), ...planOnWire(plan) }, options),
      );
    } catch (error) {
      if (error instanceof Rejection && error.reason === 'GUEST_START_FAILED') {
        throw new GuestStartError(error.message, { cause: error });
      }
      if (error instanceof HostAway) this.#avoided.set(host, this.#parts.clock.monotonicMs() + avoidMs);
      throw error;
    }
  }

  async stop(machine: MachineAtHost, { graceMs, isKeyLost = false }: StopOrder): Promise<'gone' | 'unknown'> {
    const { placement } = machine;
    if (placement === undefined) return 'gone';
    const known = this.#parts.hosts.find(placement.host);
    if (known === undefined || known.status === 'lost') return 'unknown';
    const withinMs = (isKeyLost ? 0 : graceMs) + stopMs;
    const request = { guest: refOf(machine), graceMs, isKeyLost };
    const stopped = this.#call(machine, { deadlineMs: withinMs }, (client, options) =>
      client.stopGuest(request, options),
    );
    const ended = new AbortController();
    try {
      const late = this.#parts.clock.sleep(withinMs, ended.signal).then(() => 'unknown' as const);
      return await Promise.race([stopped.then(() => 'gone' as const), late]);
    } catch (error) {
      // What no host answers for is fenced; a guest of a later placement than the record's is found by the survey.
      if (error instanceof HostAway || error instanceof PlacementOutdated || error instanceof RpcFailure)
        return 'unknown';
      throw error;
    } finally {
      ended.abort();
      stopped.catch(() => undefined);
    }
  }

  async attach(machine: MachineAtHost, disk: GuestDisk, order: number): Promise<void> {
    await this.#call(machine, {}, (client, options) =>
      client.attachGuestDisk({ guest: refOf(machine), disk: diskOnWire(disk), order }, options),
    );
  }

  async detach(machine: MachineAtHost, disk: string, order: number): Promise<void> {
    if (machine.placement === undefined) return;
    await this.#unlessAway(
      this.#call(machine, {}, (client, options) =>
        client.detachGuestDisk({ guest: refOf(machine), disk, order }, options),
      ),
    );
  }

  async look(machine: MachineAtHost): Promise<GuestCondition> {
    if (machine.placement === undefined) return 'gone';
    const found = await this.#unlessAway(this.#describe(machine));
    if (found === undefined) return 'unknown';
    return found.isRunning ? 'running' : 'gone';
  }

  async ioOf(machine: MachineAtHost): Promise<GuestIo | undefined> {
    if (machine.placement === undefined) return undefined;
    return ioOfWire((await this.#unlessAway(this.#describe(machine)))?.io);
  }

  async journalOf(machine: MachineAtHost, after: string, limit: number): Promise<JournalPage | undefined> {
    if (machine.placement === undefined) return undefined;
    const request = { guest: refOf(machine), after, pageSize: limit };
    const { isKnown, page } = await this.#call(machine, { deadlineMs: lookMs }, (client, options) =>
      client.readGuestPage(request, options),
    );
    return isKnown && page !== undefined ? pageOfWire(page) : undefined;
  }

  async forget(machine: MachineAtHost): Promise<void> {
    if (machine.placement === undefined) return;
    await this.#unlessAway(
      this.#call(machine, {}, (client, options) => client.forgetGuest({ guest: refOf(machine) }, options)),
    );
  }

  async endOf(machine: MachineAtHost): Promise<GuestEnding> {
    // It ran where compute itself had the guests.
    if (machine.placement === undefined) return { end: 'HOST_RESTARTED' };
    return endingOf(await this.#describe(machine));
  }

  onEnded(): void {}

  async survey(): Promise<GuestSurvey> {
    const hosts = this.#parts.hosts.list().filter(({ status }) => status !== 'lost');
    const lists = new Map<string, ReadonlyMap<string, GuestAtHost>>();
    const found: FoundGuest[] = [];
    await Promise.all(
      hosts.map(async ({ name }) => {
        const host = hostName(name);
        const listed = await this.#unlessAway(this.#list(host));
        if (listed === undefined) return;
        lists.set(host, new Map(listed.map((one) => [one.guest?.virtualMachine ?? '', one])));
        found.push(...listed.flatMap((one) => this.#found(host, one) ?? []));
      }),
    );
    const listedOf = ({ vm, placement }: MachineAtHost): GuestAtHost | undefined =>
      placement === undefined ? undefined : lists.get(placement.host)?.get(vm);
    /** The guest of the placement that the record names. */
    const seenOf = (machine: MachineAtHost): GuestAtHost | undefined => {
      const listed = listedOf(machine);
      return listed?.isRunning && listed.guest?.placement === machine.placement?.number ? listed : undefined;
    };
    return {
      found,
      look: async (machine) => {
        const { placement } = machine;
        if (placement !== undefined && !lists.has(placement.host)) return 'unknown';
        return seenOf(machine) === undefined ? this.look(machine) : 'running';
      },
      disksOf: (machine) => seenOf(machine)?.disks ?? [],
      ioOf: async (machine) => {
        const listed = listedOf(machine);
        return listed?.guest?.uniqueId === machine.machineId ? ioOfWire(listed.io) : undefined;
      },
    };
  }

  /** Closes the connections. */
  close(): void {
    for (const { link } of this.#links.values()) link.close();
    this.#links.clear();
  }

  #eligible(nowMs: number): readonly KnownVmHost[] {
    return this.#parts.hosts.list().flatMap((one) => {
      const host = hostName(one.name);
      if ((this.#avoided.get(host) ?? 0) > nowMs) return [];
      const started = this.#chosen.filter((chosen) => chosen.host === host).length;
      return [{ ...one, machineCount: one.machineCount + started }];
    });
  }

  #describe(machine: MachineAtHost) {
    return this.#looks(() =>
      this.#call(machine, { deadlineMs: lookMs }, (client, options) =>
        client.describeGuest({ guest: refOf(machine) }, options),
      ),
    );
  }

  async #list(host: string): Promise<readonly GuestAtHost[]> {
    const listed: GuestAtHost[] = [];
    let pageToken = '';
    do {
      const request = { pageSize, pageToken };
      const page = await this.#at(host, { deadlineMs: lookMs }, (client, options) =>
        client.listGuests(request, options),
      );
      listed.push(...page.guests);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return listed;
  }

  #found(host: string, { guest, isRunning }: GuestAtHost): FoundGuest | undefined {
    if (guest === undefined) return undefined;
    const { virtualMachine: vm, uniqueId: machineId, placement: number } = guest;
    const at = { vm, machineId, placement: { host, number } };
    return {
      ...{ vm, isRunning, at: { machineId, host, number } },
      end: async () => {
        if ((await this.stop(at, { graceMs: 0 })) === 'unknown') throw new HostAway(host);
      },
      forget: () => this.forget(at),
    };
  }

  /** @throws HostAway, PlacementOutdated, the refusal of the host */
  async #call<Answer>(
    machine: MachineAtHost,
    options: CallOptions,
    send: (client: HostClient, options: CallOptions & { readonly signal: AbortSignal }) => Promise<Answer>,
  ): Promise<Answer> {
    return this.#at(placed(machine).host, options, send);
  }

  async #at<Answer>(
    host: string,
    options: CallOptions,
    send: (client: HostClient, options: CallOptions & { readonly signal: AbortSignal }) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      const { link, client } = await this.#to(host);
      return await link.call(this.#parts.signal, (_link, signal) => send(client, { ...options, signal }));
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      if (away.has(error.reason)) throw new HostAway(host, { cause: error });
      const { placement } = error.metadata;
      if (error.reason === 'PLACEMENT_OUTDATED' && placement !== undefined) {
        throw new PlacementOutdated(Number(placement), { cause: error });
      }
      throw error;
    }
  }

  /** @throws HostAway if no such host is registered */
  async #to(host: string): Promise<Link> {
    const { hosts, connectTo, clock } = this.#parts;
    if (hosts.find(host) === undefined) await hosts.refresh();
    const address = hosts.find(host)?.address ?? '';
    const open = this.#links.get(host);
    if (open !== undefined && open.link.address === address) return open;
    this.#links.delete(host);
    open?.link.close();
    if (address === '') throw new HostAway(host);
    const process = connectTo('compute', address);
    const refusals = { unreachable: (cause?: unknown) => unreachable(host, cause), busy: () => unreachable(host) };
    const link = {
      link: new ProcessLink({ address, process, clock, refusals }),
      client: process.client(VmHostServiceDefinition),
    };
    this.#links.set(host, link);
    return link;
  }

  async #unlessAway<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof HostAway || error instanceof RpcFailure) return undefined;
      throw error;
    }
  }
}

/** Refusals that send a start to another host. */
const away: ReadonlySet<string> = new Set(['VM_HOST_UNREACHABLE', 'VM_HOST_FULL']);

const hostName = (name: string): string => `vmHosts/${name}`;

const placed = ({ vm, placement }: MachineAtHost): NonNullable<MachineAtHost['placement']> => {
  if (placement === undefined) throw new Error(`${vm} is at no VM host`);
  return placement;
};

const refOf = (machine: MachineAtHost): GuestRef =>
  GuestRef.fromPartial({
    virtualMachine: machine.vm,
    uniqueId: machine.machineId,
    placement: placed(machine).number,
  });

const unreachable = (host: string, cause?: unknown): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'VM_HOST_UNREACHABLE',
    `${host} does not respond: its machines may run. Try again, or start it again`,
    { vm_host: host },
    cause === undefined ? {} : { cause },
  );

const noneOpen = (): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'NO_VM_HOST_OPEN',
    'no VM host responds, is open and has room for one more guest: try again when one does',
  );
