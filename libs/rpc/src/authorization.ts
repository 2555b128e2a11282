import { Rejection } from '@interlock/event-store';
import type { CompatServiceDefinition, NormalizedServiceDefinition } from 'nice-grpc';
import type { Authorizer, Decision } from './authorizer.ts';
import type { Principal } from './call.ts';

/** Names of our services, as their principals carry them. */
export type Workload = 'identity' | 'key-vault' | 'disk-encryption-set' | 'disk' | 'compute';

/** Every caller may call; a token is not read. */
export interface PublicRule {
  readonly public: true;
}

/** Only principals of these services. */
export interface WorkloadRule {
  readonly workload: readonly Workload[];
}

/** Every verified principal; the handler decides. `why` says how, for the docs. */
export interface AuthenticatedRule {
  readonly authenticated: true;
  readonly why: string;
}

/** Principals that have a role with `action` at the scope the request is about. */
export interface ActionRule<Request> {
  readonly action: string;
  /** A path such as `subscriptions/s/resourceGroups/g`; `/` is the platform. A promise if it needs a look-up. */
  scope(request: Request): Promise<string> | string;
}

/** Who may call a method that takes one request. */
export type Rule<Request> = PublicRule | WorkloadRule | AuthenticatedRule | ActionRule<Request>;

/** Who may call a method with a stream of requests: no request has been read when the rule is evaluated. */
export type StreamRule = PublicRule | WorkloadRule | AuthenticatedRule;

type RuleOf<Method> = Method extends { requestStream: true }
  ? StreamRule
  : Method extends { requestDeserialize(bytes: Uint8Array): infer Request }
    ? Rule<Request>
    : never;

/** One rule for each method of a service: leaving one out does not compile. */
export type Authorization<Definition extends CompatServiceDefinition> = {
  readonly [Method in keyof NormalizedServiceDefinition<Definition>]: RuleOf<
    NormalizedServiceDefinition<Definition>[Method]
  >;
};

/**
 * Checks a verified principal against a rule. A refusal names the principal, the action and the scope (KV-83).
 * @returns a promise if the authorizer has to be called
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED or WORKLOAD_REQUIRED; UNAUTHENTICATED PRINCIPAL_DELETED
 */
export function authorise(
  rule: Rule<unknown>,
  principal: Principal,
  request: unknown,
  authorizer: Authorizer,
): Promise<void> | undefined {
  if ('public' in rule || 'authenticated' in rule) return undefined;
  if ('workload' in rule) {
    requireWorkload(rule.workload, principal);
    return undefined;
  }
  const { action } = rule;
  const scope = rule.scope(request);
  return typeof scope === 'string'
    ? requirePermission(authorizer, principal, action, scope)
    : scope.then((found) => requirePermission(authorizer, principal, action, found));
}

/**
 * Calls the authorizer and throws if the action is not granted. For handlers that decide themselves (`authenticated` rules).
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED; UNAUTHENTICATED PRINCIPAL_DELETED
 */
export async function requirePermission(
  authorizer: Authorizer,
  principal: Principal,
  action: string,
  scope: string,
): Promise<void> {
  const decision = await authorizer(principal, action, scope);
  refuseDeleted(decision, principal);
  if (decision.allowed) return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_DENIED',
    `Caller is not authorized to perform action on resource. Caller: '${principal.name}'. Action: '${action}'. Scope: '${scope}'.`,
    { principal: principal.name, action, scope },
  );
}

/**
 * Checks that a caller still exists: a token outlives the deletion of its principal. For handlers that serve every caller, also
 * one without a role.
 * @throws Rejection UNAUTHENTICATED PRINCIPAL_DELETED
 */
export async function requireActive(authorizer: Authorizer, principal: Principal): Promise<void> {
  // Any action will do: each decision says whether the principal exists.
  refuseDeleted(await authorizer(principal, 'identity/principals/read', '/'), principal);
}

function refuseDeleted({ principalActive }: Decision, { name }: Principal): void {
  if (principalActive) return;
  throw new Rejection(
    'UNAUTHENTICATED',
    'PRINCIPAL_DELETED',
    `the caller ${name} no longer exists: its tokens are not accepted`,
    { principal: name },
  );
}

function requireWorkload(workloads: readonly Workload[], principal: Principal): void {
  if (principal.kind === 'workload' && workloads.some((workload) => workload === principal.workload)) return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'WORKLOAD_REQUIRED',
    `only these services may call this method: ${workloads.join(', ')}; the caller is '${principal.name}'`,
    { principal: principal.name, workloads: workloads.join(',') },
  );
}

/** One row of the authorization table. */
export interface AuthorizationRow {
  /** `package.Service/Method`. */
  readonly rpc: string;
  /** Text: `public`, `workload disk, compute`, `authenticated: …`, `action vaults/write`. */
  readonly rule: string;
}

/** Every method of these services with its rule, in the order of the definitions: for the docs and for tests. */
export function describeAuthorization(
  services: readonly { readonly rules: ReadonlyMap<string, Rule<unknown>> }[],
): readonly AuthorizationRow[] {
  return services.flatMap(({ rules }) =>
    [...rules].map(([path, rule]) => ({ rpc: path.slice(1), rule: describe(rule) })),
  );
}

function describe(rule: Rule<unknown>): string {
  if ('public' in rule) return 'public';
  if ('workload' in rule) return `workload ${rule.workload.join(', ')}`;
  if ('authenticated' in rule) return `authenticated: ${rule.why}`;
  return `action ${rule.action}`;
}
