import type { BlockDevices } from './block-devices.ts';
import { type DataFolder, LauncherError } from './data-folder.ts';
import {
  diskHostName,
  eachService,
  folderOfDiskHost,
  type HostCounts,
  processNameOf,
  type ServiceName,
  serviceNames,
  vmHostEntry,
  vmHostName,
} from './services.ts';

/** How many processes a cloud has. */
export interface CloudSize extends HostCounts {
  readonly services: readonly ServiceName[];
  /** Processes of each service. */
  readonly replicas: number;
}

/** A process to start. */
export interface Planned {
  readonly service: ServiceName;
  readonly name: string;
  /** The file it is started with, if that is not its service's. Such a process has no store, and does not use NATS. */
  readonly entry?: string;
  readonly port: number | undefined;
  /** Its own settings, in place of those of its service. */
  readonly own: Readonly<Record<string, string>>;
}

interface PlanParts extends CloudSize {
  readonly data: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** As many as `portsOf` says. */
  readonly ports: readonly number[];
  readonly blockDevices: BlockDevices;
}

/** Number of ports of a cloud: one for each process, also of services that it leaves out. */
export const portsOf = ({ replicas, diskHosts, vmHosts }: CloudSize): number =>
  serviceNames.length * replicas + diskHosts + vmHosts;

/**
 * Names, ports and settings of the processes of a cloud. Makes their folders.
 * @throws LauncherError if several disk hosts would have one address for block devices
 */
export function planProcesses(parts: PlanParts): {
  /** Of each service, `localhost:<port>` of its processes, separated by commas. */
  readonly addresses: Readonly<Record<ServiceName, string>>;
  readonly planned: readonly Planned[];
} {
  const { replicas, ports } = parts;
  const portOf = (service: ServiceName, replica: number) => ports[serviceNames.indexOf(service) * replicas + replica];
  // By name: TLS sends no server name for an address.
  const addresses = eachService((service) =>
    upTo(replicas)
      .map((replica) => `localhost:${portOf(service, replica)}`)
      .join(','),
  );
  return { addresses, planned: [...plannedServices(parts, portOf), ...plannedHosts(parts), ...plannedVmHosts(parts)] };
}

/** The processes of the services. With disk hosts, those of disk have no folder; with VM hosts, those of compute have no guests. */
function plannedServices(
  { services, replicas, diskHosts, vmHosts, data }: PlanParts,
  portOf: (service: ServiceName, replica: number) => number | undefined,
): readonly Planned[] {
  return services.flatMap((service) =>
    upTo(replicas).map((replica) => {
      const name = processNameOf(service, replica);
      const isControl = service === 'disk' && diskHosts > 0;
      const own = {
        REPLICA_NAME: name,
        ...(service === 'compute' && vmHosts > 0 ? { GUEST_DRIVER: 'hosts' } : {}),
        ...(isControl ? { DISK_ROLE: 'control' } : { DATA_FOLDER: data.folder('services', service) }),
      };
      return { service, name, port: portOf(service, replica), own };
    }),
  );
}

/** The disk hosts, each with its own name, folder, address and socket. */
function plannedHosts(parts: PlanParts): readonly Planned[] {
  const { services, replicas, diskHosts, data, env, ports, blockDevices } = parts;
  if (!services.includes('disk')) return [];
  if (diskHosts > 1 && env.NBD_LISTEN !== undefined)
    throw new LauncherError(
      `NBD_LISTEN is one address (${env.NBD_LISTEN}), and ${diskHosts} disk hosts cannot share it. Unset it: each disk host then has a socket of its own.`,
    );
  return upTo(diskHosts).map((host) => {
    const [name, port] = [diskHostName(host), ports[serviceNames.length * replicas + host]];
    const own = {
      DISK_ROLE: 'host',
      DISK_HOST: `disk-${host}`,
      DISK_ADDRESS: `localhost:${port}`,
      REPLICA_NAME: name,
      DATA_FOLDER: data.folder('services', folderOfDiskHost(host)),
      ...(env.NBD_LISTEN === undefined ? blockDevices.settingsOf(name) : {}),
    };
    return { service: 'disk', name, port, own };
  });
}

/** The VM hosts, each with its own name, folder and address. */
function plannedVmHosts({ services, replicas, diskHosts, vmHosts, data, ports }: PlanParts): readonly Planned[] {
  if (!services.includes('compute')) return [];
  return upTo(vmHosts).map((host) => {
    const [name, port] = [vmHostName(host), ports[serviceNames.length * replicas + diskHosts + host]];
    const own = {
      VM_HOST: name,
      VM_HOST_ADDRESS: `localhost:${port}`,
      DATA_FOLDER: data.folder('services', name),
    };
    return { service: 'compute', name, entry: vmHostEntry, port, own };
  });
}

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, number) => number);
