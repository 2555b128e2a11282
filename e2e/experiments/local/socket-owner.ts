import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type HostName, isHostName } from '@interlock/local/services.ts';

/**
 * The host whose process, or whose guest, has the client end of a connection to this process. Guests of all VM hosts reach a disk host
 * at one address, so only the socket shows where a connection comes from.
 * @param port of the client end, on this machine
 * @returns undefined if it is another process, or the connection is over
 */
export const hostOfClient = (port: number): HostName | undefined => {
  const inode = inodeOf(port);
  if (inode === undefined) return undefined;
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const owner = pids.find((pid) => hasSocket(pid, `socket:[${inode}]`));
  return owner === undefined ? undefined : hostOfProcess(owner);
};

/** Fields of a line of `/proc/net/tcp`, and the state of an open connection. */
const fields = { local: 1, state: 3, inode: 9 } as const;
const established = '01';

const inodeOf = (port: number): string | undefined =>
  readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((line) => Number(`0x${line[fields.local]?.split(':')[1]}`) === port && line[fields.state] === established)?.[
    fields.inode
  ];

const hasSocket = (pid: string, socket: string): boolean =>
  orGone(() =>
    readdirSync(`/proc/${pid}/fd`).some((fd) => orGone(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) === socket),
  ) ?? false;

/** The command line of a guest has its folder, and the environment of a host its name. */
const hostOfProcess = (pid: string): HostName | undefined => {
  const commandLine = orGone(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')) ?? '';
  const environment = orGone(() => readFileSync(`/proc/${pid}/environ`, 'utf8')) ?? '';
  const name =
    /\/services\/(vm-host-\d+)\/guests\//.exec(commandLine)?.[1] ??
    /(?:^|\0)(?:REPLICA_NAME|VM_HOST)=([^\0]*)/.exec(environment)?.[1];
  return name !== undefined && isHostName(name) ? name : undefined;
};

/** What a look at a process finds; undefined if the process or the file has ended meanwhile, or belongs to another user. */
const orGone = <Value>(look: () => Value): Value | undefined => {
  try {
    return look();
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      ['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(String(error.code))
    )
      return undefined;
    throw error;
  }
};
