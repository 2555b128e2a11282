import { type EventStore, rowKeeper } from '@interlock/event-store';
import type { Clock, Logger, Random, Scope } from '@interlock/runtime';
import type { MasterKey } from '@interlock/sealing';
import { activityRoutes } from './activity/routes.ts';
import type { Backends } from './cloud/backends.ts';
import type { CloudNames } from './cloud/names.ts';
import { deploymentRoutes } from './deployments/routes.ts';
import { type AccessUrls, openAccessUrls } from './disk-access/access-url.ts';
import { diskAccessRoutes } from './disk-access/routes.ts';
import { diskType } from './disks/disk-type.ts';
import { graphRoutes } from './graph/routes.ts';
import { type Dispatch, openDispatch } from './http/dispatch.ts';
import type { Admit, Route } from './http/route.ts';
import { keyEventRoutes } from './key-events/routes.ts';
import { cryptographyRoutes } from './keys/cryptography-routes.ts';
import { refusedKeyRoutes } from './keys/refused-routes.ts';
import { rotationPolicyRoutes } from './keys/rotation-policy-routes.ts';
import { keyRoutes } from './keys/routes.ts';
import { machineType } from './machines/machine-type.ts';
import { Machines } from './machines/machines.ts';
import { machineRoutes } from './machines/routes.ts';
import { sizeRoutes } from './machines/size-routes.ts';
import { identityType } from './managed-identities/identity-type.ts';
import { absentRoutes, refusedManagementRoutes } from './management/absent-routes.ts';
import { openResourcesIn } from './management/group-content.ts';
import { imageRoutes } from './management/image-routes.ts';
import { openRequire } from './management/permissions.ts';
import { resourceGroupRoutes } from './management/resource-groups.ts';
import { openResourceRecords } from './management/resource-records.ts';
import { openSubscriptionsOf, subscriptionRoutes } from './management/subscriptions.ts';
import { tagRoutes } from './management/tag-routes.ts';
import { networkRoutes } from './network/routes.ts';
import { openOperations } from './operations/operations.ts';
import { openOutcomes } from './operations/outcome.ts';
import { operationRoutes } from './operations/routes.ts';
import { records } from './records/record.ts';
import { openRecords, type Records } from './records/records.ts';
import { RecordResources } from './resource-types/record-resources.ts';
import { ServiceResources } from './resource-types/service-resources.ts';
import { resourceRoutes } from './resources/routes.ts';
import { roleRoutes } from './roles/routes.ts';
import { setRoutes } from './sets/routes.ts';
import { setType } from './sets/set-type.ts';
import { openAccess } from './sign-in/access.ts';
import { discoveryRoutes } from './sign-in/discovery.ts';
import { openSignIn } from './sign-in/sign-in.ts';
import { openSigningKey, type SigningKey, signingKeys } from './sign-in/signing-key.ts';
import { tokenRoutes } from './sign-in/token-route.ts';
import { openTokens, type Tokens } from './sign-in/tokens.ts';
import { snapshotRoutes, snapshotType } from './snapshots/snapshot-type.ts';
import { type TestParts, testRoutes } from './testing/routes.ts';
import { openComputing } from './text/work.ts';
import { deletedVaultRoutes } from './vaults/deleted-routes.ts';
import { managedKeyRoutes } from './vaults/managed-key-routes.ts';
import { vaultRoutes } from './vaults/routes.ts';

/** What surrounds the gateway. */
export interface GatewaySeams {
  readonly store: EventStore;
  readonly backends: Backends;
  readonly names: CloudNames;
  readonly masterKey: MasterKey;
  readonly tokenLifetimeMs: number;
  /** What clients may do to the cloud in a test. */
  readonly testing: Pick<TestParts, 'enabled' | 'launcher'>;
  readonly failuresPerSecond: number;
  /** Proves the addresses of clients to key-vault; undefined: they are not stated. */
  readonly clientAddressKey: string | undefined;
  /** How long a request waits for its work before the client has to poll, in milliseconds. */
  readonly holdMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly scope: Scope;
}

/** The gateway without its server. */
export interface Gateway {
  readonly routes: readonly Route[];
  readonly admit: Admit;
  readonly signIn: ReturnType<typeof openSignIn>;
  readonly dispatch: Dispatch;
}

/** What handlers use. */
export interface RouteParts {
  readonly backends: Backends;
  readonly names: CloudNames;
  readonly random: Random;
  readonly clock: Clock;
  readonly records: Records;
  readonly dispatch: Dispatch;
  readonly key: SigningKey;
  readonly tokens: Tokens;
  readonly lifetimeMs: number;
  readonly failuresPerSecond: number;
  readonly holdMs: number;
  readonly accessUrls: AccessUrls;
  readonly testing: GatewaySeams['testing'];
  readonly log: Logger;
}

/** The route table: every request that the gateway serves. */
export const routeTable = (parts: RouteParts): readonly Route[] => {
  const require = openRequire(parts.backends);
  const compute = openComputing(parts.clock);
  const routes = [
    ...discoveryRoutes(parts.names, parts.key),
    ...tokenRoutes(parts),
    ...graphRoutes(parts),
    ...subscriptionRoutes(parts),
    ...resourceGroupRoutes({ ...parts, require, resourcesIn: openResourcesIn(parts.backends) }),
    ...deploymentRoutes({ ...parts, require, compute }),
    ...networkRoutes({ ...parts, require }),
    ...new RecordResources(identityType(parts), { ...parts, require }).routes(),
    ...imageRoutes(),
    ...sizeRoutes(),
    ...tagRoutes({ ...parts, require }),
    ...roleRoutes(parts),
    ...vaultRoutes(parts),
    ...deletedVaultRoutes(parts),
    ...managedKeyRoutes(parts),
    ...keyRoutes(parts),
    ...cryptographyRoutes(parts),
    ...rotationPolicyRoutes(parts),
    ...refusedKeyRoutes,
    ...keyEventRoutes(parts),
    ...computeRoutes(parts),
    ...activityRoutes(parts),
    ...testRoutes({ ...parts, ...parts.testing, require }),
  ];
  return [
    ...routes,
    ...resourceRoutes(routes, { ...parts, compute, subscriptionsOf: openSubscriptionsOf(parts) }),
    ...absentRoutes(),
    ...refusedManagementRoutes,
  ];
};

/** Sets, disks, snapshots, machines, and the operations on them. */
const computeRoutes = (parts: RouteParts): readonly Route[] => {
  const resourceRecords = openResourceRecords(parts.records, parts.names);
  const typeParts = { ...parts, resourceRecords };
  const sets = new ServiceResources(setType(typeParts), typeParts);
  const disks = new ServiceResources(diskType(typeParts), typeParts);
  const snapshots = new ServiceResources(snapshotType(typeParts), typeParts);
  const calls = new Machines(typeParts);
  const machines = new ServiceResources(machineType(typeParts, calls), typeParts);
  const states = {
    diskEncryptionSets: sets.readState,
    disks: disks.readState,
    snapshots: snapshots.readState,
    virtualMachines: machines.readState,
  };
  const operations = openOperations({ ...parts, outcomeOf: openOutcomes(states, parts.clock) });
  const all = { ...typeParts, operations };
  return [
    ...sets.routes(operations),
    ...setRoutes({ ...all, sets }),
    ...disks.routes(operations),
    ...diskAccessRoutes({ ...all, disks }),
    ...snapshots.routes(operations),
    ...snapshotRoutes,
    ...machines.routes(operations),
    ...machineRoutes({ ...all, machines, calls, run: machines.runner(operations) }),
    ...operationRoutes(all),
  ];
};

/** Assembles the route table over the services and the gateway's own small store. */
export const assemble = async (seams: GatewaySeams): Promise<Gateway> => {
  const { store, backends, names, masterKey, clock, random, log, scope } = seams;
  const rows = rowKeeper({ store, clock, log });
  const key = await openSigningKey({ keys: await rows.open(signingKeys), masterKey, clock, random });
  const managed = openRecords(await rows.open(records), clock);
  followRows(rows.follow, scope);
  const tokens = openTokens({ key, masterKey, names, clock, random });
  const dispatch = openDispatch(names, clock);
  const { tokenLifetimeMs: lifetimeMs, failuresPerSecond, holdMs } = seams;
  return {
    admit: openAccess({ tokens, names, clock, clientAddressKey: seams.clientAddressKey }),
    dispatch,
    signIn: openSignIn({ backends, tokens, clock, lifetimeMs }),
    routes: routeTable({
      backends,
      names,
      random,
      clock,
      records: managed,
      dispatch,
      key,
      tokens,
      lifetimeMs,
      failuresPerSecond,
      holdMs,
      accessUrls: openAccessUrls(masterKey, random, clock),
      testing: seams.testing,
      log,
    }),
  };
};

/** Keeps the rows of the store complete until the gateway stops. */
const followRows = (follow: (signal: AbortSignal) => Promise<void>, scope: Scope): void => {
  const ending = new AbortController();
  const following = follow(ending.signal);
  scope.defer('state rows', () => {
    ending.abort();
    return following;
  });
};
