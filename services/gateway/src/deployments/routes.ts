import type { Random } from '@interlock/runtime';
import { type Static, Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { errorBody, RestError } from '../errors/rest-error.ts';
import { listBody } from '../http/paging.ts';
import { type Route, type RouteReply, type RouteRequest, refusedRoute, route } from '../http/route.ts';
import { armId, type ResourcePath } from '../management/arm.ts';
import type { Require } from '../management/permissions.ts';
import type { PresentRecord } from '../records/records.ts';
import type { Computing } from '../text/work.ts';
import { contentOf, deploymentBody, deploymentIn, operationBodies } from './deployment.ts';
import { DeploymentDriver, type DriverParts } from './driver.ts';
import { Parameters, type ResolvedTemplate, resolveTemplate, Template, templateLimits } from './template.ts';
import { changesOf } from './what-if.ts';

/** What the routes of deployments need. */
export interface DeploymentParts extends DriverParts {
  readonly names: CloudNames;
  readonly require: Require;
  readonly random: Random;
  readonly compute: Computing;
}

const DeploymentBody = Type.Object({
  properties: Type.Object({
    mode: Type.Optional(Type.String({ maxLength: 50 })),
    template: Type.Optional(Template),
    parameters: Type.Optional(Parameters),
    templateLink: Type.Optional(Type.Unknown()),
    parametersLink: Type.Optional(Type.Unknown()),
  }),
});

interface DeploymentPath extends ResourcePath {
  readonly deployment: string;
}

const host = 'gateway';
const inGroup = '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.Resources/deployments';
const path = `${inGroup}/:deployment` as const;
/** Some clients leave out the provider. */
const shortPath = '/subscriptions/:subscription/resourceGroups/:group/deployments/:deployment';
const validName = /^[\w().-]{1,64}$/;

/** A PUT is answered at once if the deployment ends within this time, in milliseconds. */
const holdMs = 2_000;

/** Deployments of templates to a group: the part of the language that the command line uses. */
export const deploymentRoutes = (parts: DeploymentParts): readonly Route[] => {
  const deployments = new Deployments(parts);
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Deploys a template: its resources one after the other, with the rights of the caller',
      body: DeploymentBody,
      isJson5: true,
      handle: (request, caller) => deployments.put(request, caller),
    }),
    route({
      host,
      method: 'POST',
      path: `${path}/validate`,
      does: 'Validates a template; a template that is not valid is a result with `error`',
      body: DeploymentBody,
      isJson5: true,
      handle: (request, caller) => deployments.validate(request, caller),
    }),
    route({
      host,
      method: 'POST',
      path: `${path}/whatIf`,
      does: 'Predicts what a deployment would create and change',
      body: DeploymentBody,
      isJson5: true,
      handle: (request, caller) => deployments.whatIf(request, caller),
    }),
    ...refusedRoutes,
    ...readingRoutes(deployments),
    route({
      host,
      method: 'DELETE',
      path,
      does: 'Deletes the record of a deployment; its resources stay',
      handle: ({ params }, caller) => deployments.delete(params, caller),
    }),
  ];
};

const refusedRoutes: readonly Route[] = [
  refusedRoute({
    host,
    method: 'POST',
    path: `${path}/exportTemplate`,
    does: 'Exports the template of a deployment',
    refusedBecause: 'Only its resources are kept.',
  }),
  refusedRoute({
    host,
    method: 'POST',
    path: `${path}/cancel`,
    does: 'Cancels a deployment',
    refusedBecause: 'It ends by itself: each resource is put once.',
  }),
];

const readingRoutes = (deployments: Deployments): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a deployment',
    handle: async (request, caller) => ({ body: deploymentBody(await deployments.get(request, caller)) }),
  }),
  route({
    host,
    method: 'HEAD',
    path,
    does: 'Says whether a deployment exists',
    handle: async ({ params }, caller) => ({
      status: (await deployments.find(params, caller)) === undefined ? 404 : 204,
    }),
  }),
  route({
    host,
    method: 'GET',
    path: `${path}/operationStatuses/:operation`,
    does: 'Reads the operation of a deployment',
    handle: async (request, caller) => {
      const { status, error } = deploymentIn(await deployments.get(request, caller));
      const headers: Readonly<Record<string, string>> = status === 'Running' ? { 'retry-after': '1' } : {};
      return { body: { status, ...(error && { error }) }, headers };
    },
  }),
  ...[`${path}/operations` as const, `${shortPath}/operations` as const].map((operations) =>
    route({
      host,
      method: 'GET',
      path: operations,
      does: 'Lists what a deployment did',
      handle: async (request, caller) => ({
        body: listBody(request, operationBodies(await deployments.get(request, caller)), ''),
      }),
    }),
  ),
  route({
    host,
    method: 'GET',
    path: inGroup,
    does: 'Lists the deployments of a group',
    handle: async (request, caller) => {
      const found = await deployments.list(request.params, caller);
      return { body: listBody(request, found.map(deploymentBody), '') };
    },
  }),
];

type DeploymentRequest = Pick<RouteRequest<typeof path, unknown>, 'params' | 'headers'>;
type BodyRequest = RouteRequest<typeof path, Static<typeof DeploymentBody>>;

class Deployments {
  readonly #parts: DeploymentParts;
  readonly #driver: DeploymentDriver;

  constructor(parts: DeploymentParts) {
    this.#parts = parts;
    this.#driver = new DeploymentDriver(parts);
  }

  async put({ params, body, query, headers }: BodyRequest, caller: Caller): Promise<RouteReply> {
    const { records, random, names, clock } = this.#parts;
    await this.#check('write', params, caller);
    const template = await this.#resolve(params, body, caller);
    const id = deploymentId(params);
    const before = await records.find(id);
    if (before !== undefined && this.#driver.isRunning(before)) {
      const message = `The deployment '${params.deployment}' is running: wait until it has ended, or choose another name.`;
      throw new RestError(409, 'DeploymentActive', message);
    }
    const operation = random.uuid();
    const { correlationId } = caller;
    const started = { ...template, status: 'Running', operation, correlationId, done: [] } as const;
    const { record } = await records.put(id, contentOf(started), caller);
    const running = this.#driver.run(record, { caller, headers });
    const ended = await Promise.race([running, clock.sleep(holdMs)]);
    if (ended !== undefined && deploymentIn(ended).status === 'Succeeded') return { body: deploymentBody(ended) };
    const version = encodeURIComponent(query['api-version'] ?? '');
    const url = `${names.gateway}${encodeURI(id)}/operationStatuses/${operation}?api-version=${version}`;
    return {
      status: 201,
      body: deploymentBody(record),
      headers: { 'azure-asyncoperation': url, 'retry-after': '1' },
    };
  }

  async validate({ params, body }: BodyRequest, caller: Caller): Promise<RouteReply> {
    await this.#check('write', params, caller);
    const resolved = await this.#resolve(params, body, caller).catch(unlessInvalid);
    if (resolved instanceof RestError) return { body: errorBody(resolved) };
    const { resources, parameters } = resolved;
    const properties = {
      provisioningState: 'Succeeded',
      mode: 'Incremental',
      correlationId: caller.correlationId,
      parameters,
      validatedResources: resources.map(({ id }) => ({ id })),
    };
    const name = params.deployment;
    return { body: { id: deploymentId(params), name, type: 'Microsoft.Resources/deployments', properties } };
  }

  async whatIf({ params, body, headers }: BodyRequest, caller: Caller): Promise<RouteReply> {
    await this.#check('write', params, caller);
    const resolved = await this.#resolve(params, body, caller).catch(unlessInvalid);
    if (resolved instanceof RestError) return { body: { status: 'Failed', ...(errorBody(resolved) as object) } };
    const changes = await changesOf(resolved.resources, this.#parts.dispatch, headers);
    return { body: { status: 'Succeeded', properties: { correlationId: caller.correlationId, changes } } };
  }

  /** @returns undefined for one that does not exist */
  async find(params: DeploymentPath, caller: Caller): Promise<PresentRecord | undefined> {
    await this.#check('read', params, caller);
    return this.#parts.records.find(deploymentId(params));
  }

  /** Reads it, and continues it if its replica ended. @throws RestError 404 */
  async get({ params, headers }: DeploymentRequest, caller: Caller): Promise<PresentRecord> {
    const record = await this.find(params, caller);
    if (record === undefined) {
      throw new RestError(404, 'DeploymentNotFound', `Deployment '${params.deployment}' could not be found.`);
    }
    this.#driver.resume(record, { caller, headers });
    return record;
  }

  async list(params: ResourcePath, caller: Caller): Promise<readonly PresentRecord[]> {
    await this.#check('read', params, caller);
    return this.#parts.records.listBeside(deploymentId({ ...params, deployment: '-' }));
  }

  async delete(params: DeploymentPath, caller: Caller): Promise<RouteReply> {
    await this.#check('delete', params, caller);
    const record = await this.#parts.records.find(deploymentId(params));
    if (record === undefined) return { status: 204 };
    if (this.#driver.isRunning(record)) {
      throw new RestError(409, 'DeploymentActive', `The deployment '${params.deployment}' is running.`);
    }
    await this.#parts.records.delete(record.armId, caller);
    return { status: 204 };
  }

  #check(verb: string, { subscription, group }: ResourcePath, caller: Caller): Promise<void> {
    return this.#parts.require(
      caller,
      `management/deployments/${verb}`,
      groupName(this.#parts.names, subscription, group),
    );
  }

  async #resolve(
    { subscription, group, deployment }: DeploymentPath,
    { properties }: Static<typeof DeploymentBody>,
    caller: Caller,
  ): Promise<ResolvedTemplate> {
    const { records, names } = this.#parts;
    if (!validName.test(deployment)) {
      throw new RestError(
        400,
        'InvalidDeploymentName',
        'The name of a deployment has 1 to 64 letters, digits, and _ ( ) . -',
      );
    }
    const { mode = 'Incremental', template, parameters = {}, templateLink, parametersLink } = properties;
    if (mode.toLowerCase() !== 'incremental') throw unsupported(`the mode must be Incremental (got "${mode}")`);
    if (template === undefined || templateLink !== undefined || parametersLink !== undefined) {
      throw unsupported('send the template and the parameters in the request: links are not followed');
    }
    const found = await records.find(`/subscriptions/${subscription}/resourceGroups/${group}`);
    if (found === undefined) {
      throw new RestError(404, 'ResourceGroupNotFound', `Resource group '${group}' could not be found.`);
    }
    const location = String(found.content.location);
    const tenant = names.tenants.shown(caller.tenant);
    const place = { subscription, tenant, group, location, deployment };
    return this.#parts.compute(caller.principal, templateLimits, (work) =>
      resolveTemplate(template, parameters, place, work),
    );
  }
}

/** @returns the refusal of a template @throws every other error */
const unlessInvalid = (error: unknown): RestError => {
  if (error instanceof RestError && ['InvalidTemplate', 'NotSupported'].includes(error.code)) return error;
  throw error;
};

const deploymentId = ({ deployment, ...path }: DeploymentPath): string =>
  armId(path, 'Microsoft.Resources/deployments', deployment);

const unsupported = (what: string): RestError =>
  new RestError(400, 'NotSupported', `This deployment is not supported: ${what}.`);
