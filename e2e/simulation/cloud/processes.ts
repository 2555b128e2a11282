import type { EventStore } from '@interlock/event-store';
import type { CloudService, OwnSeams, Replica } from '@interlock/host';
import type { MemoryBus } from '@interlock/messaging';
import { logger, type SeededRandom, type VirtualClock } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { VmHost } from '../../../services/compute/src/guests/vm-host.ts';
import type { MemoryVolumeFiles } from '../../../services/disk/src/host/volume/volume-files.ts';
import type { SealKeyStore } from '../../../services/key-vault/src/sealing/seal-key-store.ts';
import type { CopyPace } from '../faults/copy-pace.ts';
import type { FaultRates } from '../faults/fault-rates.ts';
import { busOver } from '../faults/faulty-bus.ts';
import { faultyStore } from '../faults/faulty-store.ts';
import { createGate, type Gate } from '../faults/gate.ts';
import type { StorageRecord } from '../faults/storage-record.ts';
import type { CipherWatch } from '../truth/cipher-watch.ts';
import type { Hardware } from './deployment.ts';
import { type Cuts, nameOf } from './parts.ts';
import { processClock, type Skew } from './process-clock.ts';
import { processDriver } from './process-driver.ts';
import { ProcessVolumes } from './process-volumes.ts';

/** What the processes of a world share. */
export interface Machine {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly tracer: Tracer;
  readonly rates: FaultRates;
  readonly cuts: Cuts;
  readonly bus: MemoryBus;
  readonly storeOf: (service: Replica['service']) => EventStore;
  readonly volumes: MemoryVolumeFiles;
  readonly storage: Pick<StorageRecord, 'note'>;
  readonly copies: Pick<CopyPace, 'step'>;
  readonly driver: VmHost;
  readonly sealKeys: SealKeyStore;
  readonly ciphers: CipherWatch;
  readonly servicesOver: (hardware: Hardware) => Readonly<Record<Replica['service'], CloudService>>;
  /** Takes the lines of the services' own logs. */
  readonly write: (line: string) => void;
}

/** The processes of a world: what each sees of it, and what stops or ends each. */
export interface Processes {
  /** Begins a new process of the replica. @returns the seams it runs on */
  begin(replica: Replica): OwnSeams;
  /** Gate of the replica's present process; undefined when it never began. */
  gateOf(replica: Replica): Gate | undefined;
  /** Ends the process at once. */
  kill(replica: Replica): void;
  /** The replica's machine is gone: its next process begins on another one. */
  moveOn(replica: Replica): void;
  /** How the clock of the replica's machine goes wrong; what is set there acts at once. */
  skewOf(replica: Replica): Skew;
  /** Says that the connections between the replica's machine and the bus were interrupted. */
  interruptBus(replica: Replica): void;
}

/** The machine that everything runs on at first: also where the estate that a history begins with was made. */
export const firstMachine = 'machine';

interface Process {
  readonly gate: Gate;
  readonly gone: AbortController;
}

export const createProcesses = (machine: Machine): Processes => {
  const { clock, tracer, rates, cuts } = machine;
  const processes = new Map<string, Process>();
  const skews = new Map<string, Skew>();
  const interruptions = new Map<string, number>();
  /** How many machines of a replica are gone. */
  const lost = new Map<string, number>();
  let begun = 0;

  const skewOf = (replica: Replica): Skew => {
    const found = skews.get(nameOf(replica)) ?? { offsetMs: 0, driftPpm: 0 };
    skews.set(nameOf(replica), found);
    return found;
  };
  const machineOf = (name: string): string => `${firstMachine}${'+'.repeat(lost.get(name) ?? 0)}`;
  const kill = (replica: Replica): void => {
    const found = processes.get(nameOf(replica));
    found?.gate.condemn();
    found?.gone.abort();
  };

  return {
    skewOf,
    kill,
    moveOn: (replica) => {
      lost.set(nameOf(replica), (lost.get(nameOf(replica)) ?? 0) + 1);
    },
    gateOf: (replica) => processes.get(nameOf(replica))?.gate,
    interruptBus: (replica) => {
      interruptions.set(nameOf(replica), (interruptions.get(nameOf(replica)) ?? 0) + 1);
    },
    begin(replica) {
      const name = nameOf(replica);
      const { service } = replica;
      kill(replica);
      begun += 1;
      // Its own sequence, so that what one process draws does not shift what another does.
      const random = machine.random.fork(`${name} ${begun}`);
      const gate = createGate();
      const gone = new AbortController();
      processes.set(name, { gate, gone });
      const link = { clock, gate, random: random.fork('faults') };
      const isCutFrom = (part: 'bus' | 'store') => () => cuts.isCut(service, part);
      const hardware: Hardware = {
        machine: machineOf(name),
        volumes: new ProcessVolumes(machine.volumes, {
          ...link,
          faults: rates.volumes,
          copies: machine.copies,
          record: machine.storage,
        }),
        driver: processDriver(machine.driver, gate),
        sealKeys: machine.sealKeys,
        ciphers: machine.ciphers,
      };
      const own = processClock(clock, skewOf(replica), gate);
      return {
        assemble: machine.servicesOver(hardware)[service],
        store: faultyStore(machine.storeOf(service), { ...link, faults: rates.stores, isCut: isCutFrom('store') }),
        bus: busOver(machine.bus, {
          clock,
          gate,
          isCut: isCutFrom('bus'),
          interruptions: () => interruptions.get(name) ?? 0,
          gone: gone.signal,
        }),
        clock: own,
        random,
        tracer,
        log: logger({ service: name, clock: own, write: machine.write }),
      };
    },
  };
};
