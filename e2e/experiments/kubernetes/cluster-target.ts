import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CloudPart, isCloudPart, problemLines, type Target } from '@interlock/lab';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { createScope, type Scope } from '@interlock/runtime';
import { clusterControl } from '../../../deploy/kubernetes/cluster-control.ts';
import { type ClusterPlace, isObject, itemsOf, type Kubectl, openKubectl } from '../../../deploy/kubernetes/kubectl.ts';
import { networkCuts } from '../../../deploy/kubernetes/network-cuts.ts';
import { openOutside } from '../../cloud/clients.ts';
import type { CloudLab } from '../cloud/cloud-lab.ts';
import { eventFeeds } from '../cloud/event-feed.ts';
import { remoteJournals } from '../cloud/guest-journals.ts';
import { labToUndo, machinesIn, openRunningLab, type RunningCloud } from '../cloud/running-cloud.ts';
import type { LocalParts } from '../local/own-cloud.ts';
import { type Connections, PartFaults } from '../local/part-faults.ts';
import { termsOf } from '../local/terms.ts';
import { type ClusterFacts, factsOf, refusedInCluster, refusedThere } from './cluster-refusals.ts';

/** Port of every service (deploy/kubernetes/base). */
const grpcPort = 7_400;

/** A cloud in a cluster: pods are ended and stopped with kubectl, connections are cut by network policies. */
export const clusterTarget = (
  place: ClusterPlace,
  parts: LocalParts,
  kubectl = openKubectl(place, process.env),
): Target => ({
  name: 'kubernetes',
  refuse: refusedInCluster,
  refuseThere: async (experiment) => refusedThere(experiment, await factsIn(kubectl)),
  existing: (group) => machinesIn((scope) => connectTo(openKubectl(place, process.env), scope, parts), group),
  async open(experiment, signal) {
    const scope = createScope();
    try {
      const problems = refusedThere(experiment, await factsIn(kubectl));
      if (problems.length > 0) throw new LauncherError(problemLines('the file', problems).join('\n'));
      const cloud = await connectTo(kubectl, scope, parts);
      if (signal.aborted) throw new Error('the run was interrupted');
      return await openRunningLab(experiment, cloud, { scope, id: parts.id });
    } catch (error) {
      await scope.close();
      throw error;
    }
  },
});

/** Checks that a cloud can be reached there, before anything starts. @throws LauncherError with the reason and what to do */
export const requireCloudIn = async (place: ClusterPlace): Promise<void> => {
  await openKubectl(place, process.env).run(['get', 'secret', 'interlock-administrator', '--request-timeout=10s']);
};

/** A lab that can only undo, for the steps that a killed runner left open. @throws LauncherError if there is no cloud */
export const clusterLabToRecover = async (place: ClusterPlace): Promise<CloudLab> => {
  const scope = createScope();
  const { access } = await connectTo(openKubectl(place, process.env), scope, { id: '', say: () => undefined });
  return labToUndo(access, scope);
};

const connectTo = async (kubectl: Kubectl, scope: Scope, { keepEvents }: LocalParts): Promise<RunningCloud> => {
  scope.defer('kubectl', () => kubectl.end());
  const folder = mkdtempSync(join(tmpdir(), 'interlock-cluster-'));
  scope.defer('folder', () => rmSync(folder, { recursive: true, force: true }));
  const [secret, tls, { settings }, addresses] = await Promise.all([
    secretIn(kubectl, 'interlock-administrator'),
    secretIn(kubectl, 'interlock-tls-client'),
    factsIn(kubectl),
    addressesOf(kubectl),
  ]);
  const fileOf = (name: string): string => {
    const content = tls[name];
    if (content === undefined) throw new LauncherError(`Secret interlock-tls-client has no ${name}`);
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const administrator = JSON.parse(String(secret['administrator.json']));
  const outside = openOutside({
    addresses,
    administrator,
    authorityFile: fileOf('ca.crt'),
    client: { certificateFile: fileOf('tls.crt'), keyFile: fileOf('tls.key') },
  });
  scope.defer('clients', outside.close);
  const clients = outside.administrator;
  const control = clusterControl(kubectl);
  return {
    administrator,
    settings,
    access: {
      clients,
      // The data of disks is served under host names of the cluster.
      tls: undefined,
      feeds: eventFeeds(clients.messaging),
      journals: remoteJournals(clients),
      terms: termsOf(settings),
      versions: { node: process.version },
      faults: new PartFaults({ control, callable: { clients, servers: undefined }, links: connectionsIn(kubectl) }),
      ...(keepEvents === undefined ? {} : { keepEvents }),
    },
  };
};

const isPart = (part: string | undefined): part is CloudPart => part !== undefined && isCloudPart(part);

const connectionsIn = (kubectl: Kubectl): Connections => {
  const cuts = networkCuts(kubectl);
  return {
    slow: () => {
      throw new Error('a cluster cannot slow a part by kubectl');
    },
    cut: ([one, other]) => {
      if (!isPart(one) || !isPart(other)) throw new Error('a cut needs two parts of the cluster');
      return cuts.cut([one, other]);
    },
    heal: () => cuts.heal(),
    hasStalled: () => false,
  };
};

const addressesOf = async (kubectl: Kubectl): Promise<Readonly<Record<ServiceName, string>>> => {
  const found = await Promise.all(
    serviceNames.map(async (service) => [service, await kubectl.keepForward(`svc/${service}`, grpcPort)] as const),
  );
  return Object.fromEntries(found) as Record<ServiceName, string>;
};

const secretIn = async (kubectl: Kubectl, name: string): Promise<Readonly<Record<string, Buffer>>> => {
  const found = await kubectl.json(['get', 'secret', name]);
  const data = isObject(found) && isObject(found.data) ? found.data : {};
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(String(text), 'base64')]));
};

/** Facts of the cloud that runs there, read from its objects. */
const factsIn = async (kubectl: Kubectl): Promise<ClusterFacts> => {
  const selector = `app.kubernetes.io/name in (${serviceNames.join(',')})`;
  const [shared, workloads] = await Promise.all([
    kubectl.json(['get', 'configmap', 'interlock-settings']),
    kubectl.json(['get', 'deployments,statefulsets', '--selector', selector]),
  ]);
  return factsOf(shared, itemsOf(workloads));
};
