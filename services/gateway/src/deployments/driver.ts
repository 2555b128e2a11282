import type { Json } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import type { Dispatch, OwnHeaders, OwnReply } from '../http/dispatch.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { isRenewed, whileRenewing } from '../records/renewal.ts';
import { contentOf, type Deployment, type DeploymentError, deploymentIn } from './deployment.ts';
import { filledIn, UnusableReference } from './reference.ts';

/** Who a deployment acts for: the caller of the request that runs it. */
export interface Actor {
  readonly caller: Caller;
  readonly headers: OwnHeaders;
}

/** What the driver needs. */
export interface DriverParts {
  readonly records: Records;
  readonly dispatch: Dispatch;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Runs deployments: puts their resources one after the other, with the rights of the caller. Progress is stored, and each put may be
 * repeated. So if a replica ends in the middle, the next request about the deployment, at any replica, continues it.
 */
export class DeploymentDriver {
  readonly #parts: DriverParts;
  /** Running here, by ARM id in lower case. */
  readonly #running = new Map<string, Promise<PresentRecord>>();

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  /** Whether a replica runs it, as far as this one can see. */
  isRunning(record: PresentRecord): boolean {
    if (deploymentIn(record).status !== 'Running') return false;
    return this.#running.has(record.armId.toLowerCase()) || isRenewed(record, this.#parts.clock);
  }

  /** Runs it to its end. A failure of the store is logged; the next request about it continues it. @returns the record afterwards */
  run(record: PresentRecord, actor: Actor): Promise<PresentRecord> {
    const id = record.armId.toLowerCase();
    const known = this.#running.get(id);
    if (known !== undefined) return known;
    const { armId } = record;
    const work = (): Promise<PresentRecord> => this.#drive(record, actor);
    const running = whileRenewing(this.#parts, { armId, caller: actor.caller }, work).finally(() =>
      this.#running.delete(id),
    );
    running.catch((error: unknown) =>
      this.#parts.log.warn('deployment stopped before its end', { deployment: armId, error }),
    );
    this.#running.set(id, running);
    return running;
  }

  /** Continues it if no replica runs it. */
  resume(record: PresentRecord, actor: Actor): void {
    if (deploymentIn(record).status !== 'Running' || this.isRunning(record)) return;
    // Its end is in the record.
    void this.run(record, actor);
  }

  async #drive(record: PresentRecord, { caller, headers }: Actor): Promise<PresentRecord> {
    const { records, dispatch } = this.#parts;
    const { armId } = record;
    let deployment = deploymentIn(record);
    const store = async (next: Deployment): Promise<PresentRecord> => {
      deployment = next;
      return (await records.put(armId, contentOf(next), caller)).record;
    };
    for (const { id, apiVersion, body } of deployment.resources) {
      if (deployment.done.includes(id)) continue;
      const url = `${encodeURI(id)}?api-version=${encodeURIComponent(apiVersion)}`;
      const filled = await this.#filled(body, deployment, headers);
      const reply =
        'status' in filled ? filled : await dispatch.send({ method: 'PUT', url, body: filled.value }, headers);
      if (reply.status >= 400) return store({ ...deployment, status: 'Failed', error: failureOf(id, reply) });
      await store({ ...deployment, done: [...deployment.done, id] });
    }
    const outputs = await this.#filled(deployment.outputs, deployment, headers);
    if ('status' in outputs) return store({ ...deployment, status: 'Failed', error: failureOf('outputs', outputs) });
    return store({ ...deployment, outputs: outputs.value as Deployment['outputs'], status: 'Succeeded' });
  }

  /** The value with the state of the resources that it refers to. @returns the refusal if one cannot be read */
  async #filled(
    value: Json,
    { resources }: Deployment,
    headers: OwnHeaders,
  ): Promise<{ readonly value: Json } | OwnReply> {
    const read = async (resource: string): Promise<Json> => {
      const isNamed = ({ id, type, name }: (typeof resources)[number]): boolean =>
        [id, `${type}/${name}`, name].some((known) => known.toLowerCase() === resource.toLowerCase());
      const { id = resource, apiVersion = '2024-11-01' } = resources.find(isNamed) ?? {};
      const reply = await this.#parts.dispatch.send(
        { method: 'GET', url: `${encodeURI(id)}?api-version=${apiVersion}` },
        headers,
      );
      if (reply.status >= 400) throw new UnreadableResource(reply);
      return reply.body as Json;
    };
    try {
      return { value: await filledIn(value, read) };
    } catch (error) {
      if (error instanceof UnreadableResource) return error.reply;
      if (!(error instanceof UnusableReference)) throw error;
      return { status: 400, body: { error: { code: 'InvalidTemplate', message: error.message } } };
    }
  }
}

/** A resource that a template refers to could not be read. */
class UnreadableResource extends Error {
  readonly reply: OwnReply;

  constructor(reply: OwnReply) {
    super('a resource could not be read');
    this.reply = reply;
  }
}

const failureOf = (target: string, { status, body }: OwnReply): DeploymentError => {
  const { error = { code: 'InternalServerError', message: `status ${status}` } } = (body ?? {}) as {
    readonly error?: DeploymentError;
  };
  return {
    code: 'DeploymentFailed',
    message: 'At least one resource deployment operation failed. Please see details for the cause.',
    details: [{ ...error, target }],
  };
};
