import { errorBody, RestError } from '../errors/rest-error.ts';
import { type Route, refusedRoute, route } from '../http/route.ts';

const host = 'gateway';
const subscription = '/subscriptions/:subscription';
const group = `${subscription}/resourceGroups/:group`;
const resource = `${group}/providers/:namespace/:type/:name`;
const machine = `${group}/providers/Microsoft.Compute/virtualMachines/:name`;

/** A kind of thing that does not exist here: clients list it, and a list is empty. */
interface AbsentKind {
  readonly what: string;
  /** Paths of its lists. */
  readonly lists: readonly string[];
  /** Path of one, whose creation is refused; absent: of the lists. */
  readonly one?: readonly string[];
  readonly why: string;
}

const inEach = (scopes: readonly string[], type: string): readonly string[] =>
  scopes.map((scope) => `${scope}/providers/${type}`);

const scopes = [subscription, group, resource];
const placed = [subscription, group];
const noSystem = 'There are no operating systems: a guest is a process that reads and writes disks.';

const kinds: readonly AbsentKind[] = [
  {
    what: 'locks',
    lists: inEach(scopes, 'Microsoft.Authorization/locks'),
    why: 'Take the right to delete away with a role instead.',
  },
  {
    what: 'deny assignments',
    lists: inEach(scopes, 'Microsoft.Authorization/denyAssignments'),
    why: 'Rights come from role assignments alone.',
  },
  {
    what: 'policy assignments',
    lists: inEach(placed, 'Microsoft.Authorization/policyAssignments'),
    why: 'There are no policies.',
  },
  {
    what: 'diagnostic settings',
    lists: inEach(scopes, 'Microsoft.Insights/diagnosticSettings'),
    why: 'A vault keeps its audit log itself: npx interlock audit list <vault>.',
  },
  {
    what: 'deployments of subscriptions',
    lists: inEach([subscription], 'Microsoft.Resources/deployments'),
    one: [],
    why: '',
  },
  { what: 'extensions of machines', lists: [`${machine}/extensions`], why: noSystem },
  { what: 'run commands of machines', lists: [`${machine}/runCommands`], why: noSystem },
  ...[
    'availabilitySets',
    'virtualMachineScaleSets',
    'galleries',
    'diskAccesses',
    'proximityPlacementGroups',
    'images',
  ].map(
    (type): AbsentKind => ({
      what: type,
      lists: inEach(placed, `Microsoft.Compute/${type}`),
      one: [`${group}/providers/Microsoft.Compute/${type}/:name`],
      why: 'There are single machines, disks and snapshots: create a disk from a disk or snapshot.',
    }),
  ),
  ...['privateEndpointConnections', 'privateLinkResources'].map(
    (type): AbsentKind => ({
      what: `${type} of vaults`,
      lists: [`${group}/providers/Microsoft.KeyVault/vaults/:name/${type}`],
      why: 'There is no private network.',
    }),
  ),
];

/** Operations of a provider, as some SDKs list them: none are described. */
const operationList = route({
  host,
  method: 'GET',
  path: '/providers/:namespace/operations',
  does: 'Lists the operations of a provider: none are described',
  handle: () => ({ body: { value: [] } }),
});

/** Kinds that do not exist here: lists are empty, and a creation is refused with `NotSupported`. */
export const absentRoutes = (): readonly Route[] => [
  operationList,
  ...kinds.flatMap(({ what, lists, one = lists.map((list) => `${list}/:id`), why }) => [
    ...lists.map((path) =>
      route({
        host,
        method: 'GET',
        path,
        does: `Lists ${what}: none exist`,
        handle: () => ({ body: { value: [] } }),
      }),
    ),
    ...one.map((path) =>
      refusedRoute({ host, method: 'PUT', path, does: `Creates one of ${what}`, refusedBecause: why }),
    ),
  ]),
];

type Refused = readonly [method: 'PUT' | 'POST' | 'PATCH' | 'DELETE', path: string, does: string, why: string];

const groupOnly = 'Deploy to a resource group.';
const noHsm = 'There is no HSM: create a vault.';
const inSubscription = `${subscription}/providers/Microsoft.Resources/deployments/:deployment`;
const managedHsm = `${group}/providers/Microsoft.KeyVault/managedHSMs/:name`;

const refusedOperations: readonly Refused[] = [
  ['POST', `${group}/moveResources`, 'Moves resources to another group', 'A resource keeps its group.'],
  ['POST', `${group}/validateMoveResources`, 'Validates a move of resources', 'A resource keeps its group.'],
  ['POST', `${group}/exportTemplate`, 'Exports a group as a template', 'Only its resources are kept.'],
  ['PUT', inSubscription, 'Deploys a template to a subscription', groupOnly],
  ['PUT', `${subscription}/tagNames/:tag`, 'Declares a tag', 'A tag exists with the first resource that has it.'],
  ['PUT', managedHsm, 'Creates a managed HSM', noHsm],
  ['PATCH', managedHsm, 'Updates a managed HSM', noHsm],
  ...placed.flatMap((scope): readonly Refused[] => {
    const role = `${scope}/providers/Microsoft.Authorization/roleDefinitions/:id`;
    return [
      ['PUT', role, 'Creates a role', 'Roles are built in.'],
      ['DELETE', role, 'Deletes a role', 'Roles are built in.'],
    ];
  }),
];

/** The command line reads the refusal of a template only from a result. */
const refusedTemplates: readonly Route[] = ['validate', 'whatIf'].map((verb) =>
  route({
    host,
    method: 'POST',
    path: `${inSubscription}/${verb}` as const,
    does: `${verb} of a deployment to a subscription`,
    isJson5: true,
    refusedBecause: groupOnly,
    handle: () => {
      const refusal = new RestError(
        400,
        'NotSupported',
        `Deployments to a subscription: not supported here. ${groupOnly}`,
      );
      return { body: { status: 'Failed', ...(errorBody(refusal) as object) } };
    },
  }),
);

/** Operations that exist in the public cloud and not here. */
export const refusedManagementRoutes: readonly Route[] = [
  ...refusedTemplates,
  ...refusedOperations.map(([method, path, does, refusedBecause]) =>
    refusedRoute({ host, method, path, does, refusedBecause }),
  ),
];
