import { DiskHostServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { type PeerProcess, ProcessLink } from '@interlock/host';
import type { RpcClient } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';

/** The connection to one disk host; its calls are refused with DISK_HOST_UNREACHABLE and DISK_HOST_BUSY. */
export class HostLink extends ProcessLink {
  readonly host: string;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly volumes: RpcClient<typeof DiskHostServiceDefinition>;

  constructor({
    host,
    ...parts
  }: {
    readonly host: string;
    readonly address: string;
    readonly process: PeerProcess;
    readonly clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  }) {
    const refusals = {
      unreachable: (cause?: unknown) => unreachable(host, cause),
      busy: (limit: number) => busy(host, limit),
    };
    super({ ...parts, refusals });
    this.host = host;
    this.disks = parts.process.client(DiskServiceDefinition);
    this.volumes = parts.process.client(DiskHostServiceDefinition);
  }
}

/** The refusal of what needs a host that does not respond. */
export const unreachable = (host: string, cause?: unknown): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_UNREACHABLE',
    `disk host ${host} does not respond: try again, or start it again. Its disks are unchanged`,
    { disk_host: `diskHosts/${host}` },
    cause === undefined ? {} : { cause },
  );

const busy = (host: string, limit: number): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_BUSY',
    `${limit} calls of this process are under way at disk host ${host}, which is the limit: try again`,
    { disk_host: `diskHosts/${host}`, limit: String(limit) },
  );
