import type { Json } from '@interlock/event-store';
import type { PresentRecord } from '../records/records.ts';
import type { ResolvedResource, ResolvedTemplate } from './template.ts';

/** State of a deployment. */
export type DeploymentStatus = 'Running' | 'Succeeded' | 'Failed';

/** An error as management writes it. */
export interface DeploymentError {
  readonly code: string;
  readonly message: string;
  readonly target?: string;
  readonly details?: readonly DeploymentError[];
}

/** What is stored of a deployment. */
export interface Deployment {
  readonly status: DeploymentStatus;
  /** UUID of its operation. */
  readonly operation: string;
  readonly correlationId: string;
  readonly resources: readonly ResolvedResource[];
  /** ARM ids of the resources that exist, in the order in which they were put. */
  readonly done: readonly string[];
  readonly parameters: ResolvedTemplate['parameters'];
  readonly outputs: ResolvedTemplate['outputs'];
  readonly error?: DeploymentError;
}

/** Reads a record. Only `recordOf` writes them. */
export const deploymentIn = ({ content }: PresentRecord): Deployment => content.deployment as unknown as Deployment;

/** The content of a record. */
export const contentOf = (deployment: Deployment): { readonly deployment: Json } => ({
  deployment: deployment as unknown as Json,
});

/** A deployment as clients read it. */
export const deploymentBody = (record: PresentRecord): unknown => {
  const { status, correlationId, resources, done, parameters, outputs, error } = deploymentIn(record);
  return {
    id: record.armId,
    name: record.armId.split('/').at(-1),
    type: 'Microsoft.Resources/deployments',
    properties: {
      provisioningState: status,
      mode: 'Incremental',
      correlationId,
      timestamp: new Date(record.updatedAt).toISOString(),
      duration: `PT${((record.updatedAt - record.createdAt) / 1_000).toFixed(3)}S`,
      parameters,
      providers: providersOf(resources),
      dependencies: [],
      outputResources: done.map((id) => ({ id })),
      ...(status === 'Succeeded' ? { outputs } : {}),
      ...(error === undefined ? {} : { error }),
    },
  };
};

const providersOf = (resources: readonly ResolvedResource[]): unknown => {
  const namespaces = new Map<string, Set<string>>();
  for (const { type } of resources) {
    const [namespace = '', ...rest] = type.split('/');
    const types = namespaces.get(namespace) ?? new Set();
    namespaces.set(namespace, types.add(rest.join('/')));
  }
  return [...namespaces].map(([namespace, types]) => ({
    namespace,
    resourceTypes: [...types].map((resourceType) => ({ resourceType })),
  }));
};

/** The operations of a deployment: one for each resource. */
export const operationBodies = (record: PresentRecord): readonly unknown[] => {
  const { resources, done, error, status } = deploymentIn(record);
  const failed = error?.details?.[0];
  return resources.flatMap(({ id, name, type }, at) => {
    const isFailed = status === 'Failed' && failed?.target === id;
    if (!done.includes(id) && !isFailed) return [];
    return [
      {
        id: `${record.armId}/operations/${at + 1}`,
        operationId: String(at + 1),
        properties: {
          provisioningOperation: 'Create',
          provisioningState: isFailed ? 'Failed' : 'Succeeded',
          statusCode: isFailed ? 'Conflict' : 'OK',
          ...(isFailed ? { statusMessage: { error: failed } } : {}),
          targetResource: { id, resourceName: name, resourceType: type },
        },
      },
    ];
  });
};
