import type { EventStore } from '@interlock/event-store';
import type { CloudService, OwnSeams, Replica } from '@interlock/host';
import type { MemoryBus } from '@interlock/messaging';
import { logger, type SeededRandom, type VirtualClock } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { VmHost } from '../../../services/compute/src/guests/vm-host.ts';
import { assembleVmHost } from '../../../services/compute/src/vm-host/assemble.ts';
import type { SealKeyStore } from '../../../services/key-vault/src/sealing/seal-key-store.ts';
import type { CopyPace } from '../faults/copy-pace.ts';
import type { FaultRates } from '../faults/fault-rates.ts';
import { busOver } from '../faults/faulty-bus.ts';
import { faultyStore } from '../faults/faulty-store.ts';
import { createGate, type Gate } from '../faults/gate.ts';
import type { StorageRecord } from '../faults/storage-record.ts';
import type { CipherWatch } from '../truth/cipher-watch.ts';
import type { Hardware } from './deployment.ts';
import type { SimulatedHost } from './disk-hosts.ts';
import { type Cuts, nameOf, partOf } from './parts.ts';
import { processClock, type Skew } from './process-clock.ts';
import { processDriver } from './process-driver.ts';
import { ProcessVolumes, type VolumeLink } from './process-volumes.ts';
import { GUEST_CAPACITY, type SimulatedVmHost } from './vm-hosts.ts';

/** What the processes of a world share. */
export interface Machine {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly tracerOf: (service: string) => Tracer;
  readonly rates: FaultRates;
  readonly cuts: Cuts;
  readonly bus: MemoryBus;
  readonly storeOf: (service: Replica['service'], by: Replica) => EventStore;
  readonly diskHosts: readonly SimulatedHost[];
  readonly hasControl: boolean;
  readonly vmHosts: readonly SimulatedVmHost[];
  readonly storage: Pick<StorageRecord, 'note'>;
  readonly copies: Pick<CopyPace, 'step'>;
  readonly driver: VmHost;
  readonly sealKeys: SealKeyStore;
  readonly ciphers: CipherWatch;
  readonly servicesOver: (hardware: Hardware) => Readonly<Record<Replica['service'], CloudService>>;
  /** Receives the lines of the services' own logs. */
  readonly write: (line: string) => void;
  /** Called when a process uses a server that it is cut off from. */
  readonly onBlocked: (service: Replica['service'], server: 'bus' | 'store') => void;
}

/** The machine of everything at the start. The estate of every history was also created on it. */
export const firstMachine = 'machine';

type VolumeLinkParts = Pick<VolumeLink, 'clock' | 'gate' | 'random'>;

interface Process {
  readonly gate: Gate;
  readonly gone: AbortController;
}

/** The processes of a world: the parts that each uses, and how to stop or end each. */
export class Processes {
  readonly #machine: Machine;
  readonly #processes = new Map<string, Process>();
  readonly #skews = new Map<string, Skew>();
  readonly #interruptions = new Map<string, number>();
  /** How many machines of a replica are lost. */
  readonly #lost = new Map<string, number>();
  #begun = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Starts a new process of the replica. @returns the seams it runs on */
  begin(replica: Replica): OwnSeams {
    const { clock, tracerOf, rates, cuts, random: all, bus, storeOf, write, onBlocked } = this.#machine;
    const name = nameOf(replica);
    const { service } = replica;
    this.kill(replica);
    this.#begun += 1;
    // A separate sequence: the draws of one process do not shift those of another.
    const random = all.fork(`${name} ${this.#begun}`);
    const gate = createGate();
    const gone = new AbortController();
    this.#processes.set(name, { gate, gone });
    const link = { clock, gate, random: random.fork('faults') };
    const isCutFrom = (server: 'bus' | 'store') => () => {
      const isCut = cuts.isCut(partOf(replica), server);
      if (isCut) onBlocked(service, server);
      return isCut;
    };
    const own = processClock(clock, this.skewOf(replica), gate);
    return {
      ...this.#assembly(replica, link),
      store: faultyStore(storeOf(service, replica), { ...link, faults: rates.stores, isCut: isCutFrom('store') }),
      bus: busOver(bus, {
        clock,
        gate,
        isCut: isCutFrom('bus'),
        interruptions: () => this.#interruptions.get(name) ?? 0,
        gone: gone.signal,
      }),
      clock: own,
      random,
      tracer: tracerOf(service),
      log: logger({ service: name, clock: own, write }),
    };
  }

  /** Gate of the replica's present process; undefined if it never started. */
  gateOf(replica: Replica): Gate | undefined {
    return this.#processes.get(nameOf(replica))?.gate;
  }

  /** Ends the process at once. */
  kill(replica: Replica): void {
    const found = this.#processes.get(nameOf(replica));
    found?.gate.condemn();
    found?.gone.abort();
  }

  /** The replica's machine is lost: its next process starts on another one. */
  moveOn(replica: Replica): void {
    this.#lost.set(nameOf(replica), (this.#lost.get(nameOf(replica)) ?? 0) + 1);
  }

  /** The skew of the clock of the replica's machine. Changes act at once. */
  skewOf(replica: Replica): Skew {
    const found = this.#skews.get(nameOf(replica)) ?? { offsetMs: 0, driftPpm: 0 };
    this.#skews.set(nameOf(replica), found);
    return found;
  }

  /** Notes that the connections between the replica's machine and the bus were interrupted. */
  interruptBus(replica: Replica): void {
    this.#interruptions.set(nameOf(replica), (this.#interruptions.get(nameOf(replica)) ?? 0) + 1);
  }

  /** A service over its hardware, or a VM host over its guests and its folder. */
  #assembly(replica: Replica, link: VolumeLinkParts): Pick<OwnSeams, 'assemble' | 'assembleStoreless'> {
    const { vmHosts, servicesOver } = this.#machine;
    const host = vmHosts.find((one) => nameOf(one.replica) === nameOf(replica));
    if (host === undefined) return { assemble: servicesOver(this.#hardwareOf(replica, link))[replica.service] };
    const { name: vmHost, address: vmHostAddress, files, driver } = host;
    const settings = { vmHost, vmHostAddress, hostZone: undefined, vmHostLeaveMs: 0, guestCapacity: GUEST_CAPACITY };
    return {
      assembleStoreless: (seams) =>
        assembleVmHost({ ...seams, settings, files, driver: processDriver(driver, link.gate) }),
    };
  }

  #hardwareOf(replica: Replica, link: VolumeLinkParts): Hardware {
    const { diskHosts, hasControl, vmHosts, copies, storage, driver, sealKeys, ciphers } = this.#machine;
    const name = nameOf(replica);
    const host = diskHosts.find((one) => nameOf(one.replica) === name);
    return {
      machine: `${firstMachine}${'+'.repeat(this.#lost.get(name) ?? 0)}`,
      diskHost: host && {
        name: host.name,
        address: host.address,
        isOneOfMany: hasControl,
        volumes: new ProcessVolumes(host.volumes, { ...link, faults: host.rates, copies, record: storage }),
      },
      driver: vmHosts.length > 0 ? 'hosts' : processDriver(driver, link.gate),
      sealKeys,
      ciphers,
    };
  }
}
