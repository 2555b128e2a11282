import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { fullName } from '../request/names.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import { currentHold } from '../session/hold.ts';
import { type ServerWord, serverStatuses, serverText, serverWord, silence } from '../session/servers.ts';
import type { Session } from '../session/session.ts';
import { missingOf, replicasIn } from './status.ts';

/** What a probe found: one line for people, and whether it is as it should be. */
export interface Finding {
  readonly isSo: boolean;
  readonly text: string;
}

/** What a probe found out about a service, and what that says of its servers. */
type ServiceFinding = Finding & ServerWord & { readonly service: Workload };

/** What a probe works with. */
type ProbeSession = Pick<Session, 'terminal' | 'output' | 'settings'> & {
  readonly caller: Pick<Session['caller'], 'call'>;
};

/**
 * Every service answers with every process it had, tells its facts, is not on hold, and is no more than `gapMax` facts behind
 * with those of others; and by what they say, Postgres and NATS are there. One that does not answer is a finding beside the
 * others: whoever reads this wants to know which.
 */
export const probeServices = async ({ caller }: ProbeSession, gapMax: number): Promise<readonly Finding[]> => {
  const found = await Promise.all(
    services.map(async (service): Promise<ServiceFinding> => {
      try {
        return await probeService(caller, service, gapMax);
      } catch (error) {
        if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
        const text = `${service} does not say how it does: ${silence(service, error).problem}`;
        return { isSo: false, text, service, ...serverWord(service, error) };
      }
    }),
  );
  const servers = serverStatuses(found).map((server) => ({
    isSo: server.state === 'serving',
    text: `${server.server} ${server.state === 'serving' ? 'serves' : `is ${server.state}: ${serverText(server)}`}`,
  }));
  return [...found.map(({ isSo, text }) => ({ isSo, text })), ...servers];
};

const probeService = async (
  caller: ProbeSession['caller'],
  service: Workload,
  gapMax: number,
): Promise<ServiceFinding> => {
  const ask = (method: string) => caller.call(service, methodOf(Service.messaging, method), {});
  const questions = ['GetRelay', 'ListConsumers', 'ListReplicas'].map(ask);
  const [relay = {}, { consumers } = {}, listed = {}] = await Promise.all(questions);
  const rows = Array.isArray(consumers) ? consumers.filter(isObject) : [];
  const gap = rows.reduce((sum, row) => sum + Number(row.gap ?? 0), 0);
  const parked = rows.reduce((sum, row) => sum + Number(row.parkedCount ?? 0), 0);
  const hold = service === 'key-vault' ? await currentHold(caller) : undefined;
  const held = hold === undefined ? '' : `, lets nobody use a key (hold ${String(hold.holdId)})`;
  const silent = relay.failingSince === undefined ? '' : `, has told nothing since ${String(relay.failingSince)}`;
  const gone = missingOf(replicasIn(listed));
  const missing = gone === '' ? '' : `, ${gone}`;
  return {
    isSo: silent === '' && hold === undefined && gap <= gapMax && parked === 0 && gone === '',
    text: `${service} is ${gap} facts behind, ${parked} parked${silent}${held}${missing}`,
    service,
    ...serverWord(service, relay),
  };
};

/** No lease is paused, and none that is held rests on a yes older than `ageMaxMs`. A lost one is no fault: somebody took the key away. */
export const probeLeases = async ({ caller }: ProbeSession, ageMaxMs: number): Promise<readonly Finding[]> => {
  const leases = await all(caller, 'disk', methodOf(Service.disk, 'ListLeases'), 'leases');
  return leases.map((lease) => {
    const ageMs = Number(lease.ageMs ?? 0);
    const isOld = lease.state === 'HELD' && ageMs > ageMaxMs;
    return {
      isSo: lease.state !== 'PAUSED' && !isOld,
      text: `${String(lease.diskEncryptionSet)} ${String(lease.keyVersion)}: ${String(lease.state)}, ${Math.round(ageMs / 1_000)} s old`,
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

/**
 * Shows what was found. @returns whether all is so; also when there was nothing to look at, which is then said
 */
export const showFindings = ({ terminal, output }: ProbeSession, findings: readonly Finding[]): boolean => {
  const isSo = findings.every((finding) => finding.isSo);
  if (output.isDocument) output.write({ ok: isSo, findings: findings.map((finding) => ({ ...finding })) });
  else {
    for (const finding of findings) terminal.out(`${finding.isSo ? 'ok    ' : 'NOT SO'}  ${finding.text}`);
    if (findings.length === 0) terminal.out('ok      there is nothing to look at');
  }
  return isSo;
};

/** Every page of a list. */
const all = async (
  caller: ProbeSession['caller'],
  service: 'disk',
  method: ReturnType<typeof methodOf>,
  field: string,
): Promise<readonly JsonObject[]> => {
  const items: JsonObject[] = [];
  let pageToken = '';
  do {
    const page = await caller.call(service, method, { pageToken });
    const found = page[field];
    if (Array.isArray(found)) items.push(...found.filter(isObject));
    pageToken = String(page.nextPageToken ?? '');
  } while (pageToken !== '');
  return items;
};
