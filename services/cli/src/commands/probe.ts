import { fullName, shortName } from '../request/names.ts';
import { readList } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import { serverText } from '../session/servers.ts';
import type { Session } from '../session/session.ts';
import { readStatus } from './status.ts';

/** One result of a probe: a line for people, and whether the expected state holds. */
export interface Finding {
  readonly isSo: boolean;
  readonly text: string;
}

type ProbeSession = Pick<Session, 'terminal' | 'output' | 'settings' | 'clock'> & {
  readonly caller: Pick<Session['caller'], 'call'>;
};

/**
 * Every service responds with all of its processes, publishes its facts, is not on hold, and is at most `gapMax` facts behind;
 * Postgres and NATS serve.
 */
export const probeServices = async (session: ProbeSession, gapMax: number): Promise<readonly Finding[]> => {
  const { services, servers } = await readStatus(session);
  const ofServices = services.map(({ service, state, gap, parked, problem }) => ({
    isSo: state === 'serving' && gap <= gapMax && parked === 0,
    text: `${service} is ${state}, ${gap} facts behind, ${parked} parked${problem === '' ? '' : `: ${problem}`}`,
  }));
  const ofServers = servers.map((status) => ({
    isSo: status.state === 'serving',
    text: `${status.server} is ${status.state}${status.state === 'serving' ? '' : `: ${serverText(status)}`}`,
  }));
  return [...ofServices, ...ofServers];
};

/** No lease is paused, and every held one was renewed within `ageMaxMs`. A lost lease is a decision of the key's owner. */
export const probeLeases = async ({ caller }: ProbeSession, ageMaxMs: number): Promise<readonly Finding[]> => {
  const leases = await readList(caller, 'disk', methodOf(Service.disk, 'ListLeases'));
  return leases.map((lease) => {
    const ageMs = Number(lease.ageMs ?? 0);
    const isOld = lease.state === 'HELD' && ageMs > ageMaxMs;
    return {
      isSo: lease.state !== 'PAUSED' && !isOld,
      text: `${String(lease.diskEncryptionSet)} ${String(lease.keyVersion)}: ${String(lease.state)}, ${Math.round(ageMs / 1_000)} s old`,
    };
  });
};

/** These disk hosts (all if none is named) respond, and take new disks. An operator closes a host on purpose, and opens it again. */
export const probeDiskHosts = async (
  { caller, settings }: ProbeSession,
  hosts: readonly string[],
): Promise<readonly Finding[]> => {
  const named = await Promise.all(
    hosts.map((typed) => {
      const name = fullName('diskHost', typed, settings.names, '<disk-host>');
      return caller.call('disk', methodOf(Service.disk, 'GetDiskHost'), { name });
    }),
  );
  const all = hosts.length > 0 ? named : await readList(caller, 'disk', methodOf(Service.disk, 'ListDiskHosts'));
  return all.map(({ name, state, liveness, capacityBytes = 0, freeBytes = 0, diskCount = 0, snapshotCount = 0 }) => {
    const [capacity, free] = [Number(capacityBytes), Number(freeBytes)];
    // With less it gets no new disk.
    const isFull = capacity > 0 && free < capacity / 10;
    const share = capacity > 0 ? `, ${Math.floor((free / capacity) * 100)} % free` : '';
    return {
      isSo: state === 'OPEN' && liveness === 'SERVING' && !isFull,
      text: `${shortName(String(name), settings.names)} is ${String(state)} and ${String(liveness)}, ${Number(diskCount)} disks, ${Number(snapshotCount)} snapshots${share}`,
    };
  });
};

/** These machines are in that power state. */
export const probePower = async (
  { caller, settings }: ProbeSession,
  power: 'RUNNING' | 'STOPPED',
  machines: readonly string[],
): Promise<readonly Finding[]> =>
  Promise.all(
    machines.map(async (typed) => {
      const name = fullName('virtualMachine', typed, settings.names, '<vm>');
      const machine = await caller.call('compute', methodOf(Service.compute, 'GetVirtualMachine'), { name });
      return { isSo: machine.powerState === power, text: `${typed} is ${String(machine.powerState)}` };
    }),
  );

/** Shows the findings. @returns whether all are as expected; also when there are none */
export const showFindings = (
  { terminal, output }: Pick<ProbeSession, 'terminal' | 'output'>,
  findings: readonly Finding[],
): boolean => {
  const isSo = findings.every((finding) => finding.isSo);
  if (output.isDocument) output.write({ ok: isSo, findings: findings.map((finding) => ({ ...finding })) });
  else {
    for (const finding of findings) terminal.out(`${finding.isSo ? 'ok    ' : 'NOT OK'}  ${finding.text}`);
    if (findings.length === 0) terminal.out('ok      nothing to check');
  }
  return isSo;
};
