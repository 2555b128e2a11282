import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Certificates, ClientTls } from '@interlock/rpc';
import type { Renewed } from '@interlock/runtime';
import type { GuestDisk, GuestPlan } from '../guests/vm-host.ts';

/** The file a guest is started with. It has secrets: only its owner may read it. */
export interface GuestFile extends GuestPlan {
  readonly vm: string;
  /** PEM text of the authority that signed the certificates of the disk hosts; `plaintext` if something else secures the network. */
  readonly authority: string | 'plaintext';
  /** What the guest shows to disk hosts that require a certificate. */
  readonly client?: ClientCertificate;
  /** Longest single read, write or flush, in milliseconds; absent: the default. */
  readonly ioTimeoutMs?: number;
  /** `host:port` of each process of the disk service. */
  readonly diskAddresses?: readonly string[];
  /** The guest ends with this process. */
  readonly parentPid?: number;
  /** The run of the host: see `hostRun`. */
  readonly host?: string;
  /** Present for a machine in QEMU. */
  readonly qemu?: QemuTerms;
  /** Rises with each change of the file; the guest writes the one it has applied to `guest.applied`. */
  readonly generation: number;
}

/** What this host gives a machine in QEMU. */
export interface QemuTerms {
  /** Folder with `vmlinux`, `initrd` and `accelerator`, as `interlock image build` makes them. */
  readonly imageFolder: string;
  readonly memoryMib: number;
  readonly cpus: number;
  /** How long the guest may take to boot, in milliseconds. */
  readonly bootMs: number;
  /** How long QEMU may leave a command without a response before it is ended, in milliseconds. */
  readonly responseMs: number;
}

/** PEM texts of a certificate and its private key. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** The part of the file that is about TLS. */
export type GuestTls = Pick<GuestFile, 'authority' | 'client'>;

/** The certificates that a host gives its guests. */
export const guestTls = (tls: Renewed<Certificates> | 'plaintext'): GuestTls => {
  if (tls === 'plaintext') return { authority: tls };
  const { ca, certificate, key } = tls.current();
  return { authority: ca, client: { certificate, key } };
};

/** The certificates in the form that a channel takes. */
export const clientTls = ({ authority, client }: GuestTls): ClientTls | 'plaintext' =>
  authority === 'plaintext' ? authority : { ca: authority, ...client };

/** Names inside the folder of a guest. */
export const guestFiles = {
  plan: 'guest.json',
  pid: 'guest.pid',
  applied: 'guest.applied',
  /** Unique id of the machine that the journal and the counters are of. */
  machine: 'machine-id',
  journal: 'io.jsonl',
  counters: 'io-counters.json',
  log: 'guest.log',
  /** How the guest ended, in words, if it says so. */
  end: 'guest.end',
  /** Of a machine in QEMU: its process and what its serial console printed last. */
  qemuPid: 'qemu.pid',
  console: 'console.log',
} as const;

/** Puts the file in place as a whole. */
export const writeGuestFile = (path: string, file: GuestFile): void => {
  writeFileSync(`${path}.new`, JSON.stringify(file), { mode: 0o600 });
  renameSync(`${path}.new`, path);
};

/** Reads the file. @throws Error if it is missing or incomplete */
export const readGuestFile = (path: string): GuestFile => {
  const given: Partial<GuestFile> = JSON.parse(readFileSync(path, 'utf8'));
  const { vm, machineId, guest, authority, client, workload, disks, generation } = given;
  const { parentPid, host, ioTimeoutMs, diskAddresses, qemu } = given;
  if (!vm || !machineId || !guest || !authority || !workload || !disks || generation === undefined) {
    throw new Error(`${path} must have vm, machineId, guest, authority, workload, disks and generation`);
  }
  return {
    vm,
    machineId,
    guest,
    authority,
    workload,
    disks,
    generation,
    ...(client === undefined ? {} : { client }),
    ...(ioTimeoutMs === undefined ? {} : { ioTimeoutMs }),
    ...(diskAddresses === undefined ? {} : { diskAddresses }),
    ...(parentPid === undefined ? {} : { parentPid }),
    ...(host === undefined ? {} : { host }),
    ...(qemu === undefined ? {} : { qemu }),
  };
};

/** Whether two descriptions are of the same open of a disk. */
export const isSameOpen = (one: GuestDisk, other: GuestDisk): boolean =>
  one.disk === other.disk && one.accessToken === other.accessToken;
