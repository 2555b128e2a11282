import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { comments } from '../request/comments.ts';
import { resolved } from '../request/draft.ts';
import { nameValue } from '../request/field-values.ts';
import { resolverOf } from '../request/lookups.ts';
import { fullName, shortName } from '../request/names.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import type { Session } from '../session/session.ts';
import { takesRole } from '../verbs/access-taken.ts';
import { confirmAccessTaken, confirmHelp } from './confirm.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

const usage = '<assignment> | <principal> <role> [--scope <scope>] [--flags]';

/** Adds `role unassign`: by the assignment, or by principal and role as `role assign` takes them. */
export function addRoleCommands(role: Command, runner: Pick<Runner, 'withSession'>): void {
  const unassign = role
    .command('unassign')
    .description(
      `${comments.method(Service.identity, 'DeleteRoleAssignment')} Named by its assignment, or by principal and role.`,
    )
    .usage(usage)
    .argument('[words...]')
    .option('--confirm', confirmHelp)
    .addOption(
      filled('--scope <scope>', 'scope of the assignment; needed when the principal has the role at several scopes'),
    );
  unassign.action((words: readonly string[]) => {
    const { scope, confirm }: { readonly scope?: string; readonly confirm?: boolean } = unassign.opts();
    const [first, role, more] = words;
    if (first === undefined || more !== undefined || (role === undefined && scope !== undefined)) {
      throw new UsageError(`name one assignment, or a principal and a role. Usage: interlock role unassign ${usage}`);
    }
    return runner.withSession('role unassign', unassign.optsWithGlobals(), async (session) => {
      const { names } = session.settings;
      const assignment =
        role === undefined
          ? { name: fullName('roleAssignment', first, names, '<assignment>') }
          : await assignmentOf(first, role, scope, session);
      const takings = async () => takesRole(await whole(assignment, session), contextOf(session));
      await confirmAccessTaken(takings, confirm === true, session);
      await remove(assignment, session);
    });
  });
}

/** The assignment of a role to a principal. @throws Rejection for none, UsageError for several */
async function assignmentOf(
  principalWord: string,
  roleWord: string,
  scopeWord: string | undefined,
  session: Session,
): Promise<JsonObject> {
  const { caller, settings } = session;
  const { names } = settings;
  const short = (name: string): string => shortName(name, settings.namesWithoutFlags);
  const role = fullName('role', roleWord, names, '<role>');
  const scope = scopeWord === undefined ? undefined : fullName('scope', scopeWord, names, '--scope');
  const draft = { principal: nameValue('principal', principalWord, '<principal>', names) };
  const { principal } = await resolved(
    draft,
    resolverOf(caller, short, () => undefined),
  );
  const all = await assignmentsOf(String(principal), session);
  const found = all.filter((one) => one.role === role && (scope === undefined || one.scope === scope));
  const [only, second] = found;
  const what = `${principalWord} has no role ${typed(role)}${scope === undefined ? '' : ` at ${scope}`}`;
  if (only === undefined) throw new Rejection('NOT_FOUND', 'ROLE_ASSIGNMENT_NOT_FOUND', what, { role });
  if (second === undefined) return only;
  const scopes = found.map((one) => String(one.scope)).join(', ');
  throw new UsageError(`${principalWord} has the role ${typed(role)} at ${scopes}: name one with --scope`);
}

/** A role as users type it. */
const typed = (role: unknown): string => String(role).replace(/^roles\//, '');

async function assignmentsOf(principal: string, { caller }: Session): Promise<readonly JsonObject[]> {
  const list = methodOf(Service.identity, 'ListRoleAssignments');
  const found: JsonObject[] = [];
  for (let pageToken = ''; ; ) {
    const page = await caller.call('identity', list, { principal, pageSize: 1_000, pageToken });
    const { roleAssignments, nextPageToken } = page;
    if (Array.isArray(roleAssignments)) found.push(...roleAssignments.filter(isObject));
    if (typeof nextPageToken !== 'string' || nextPageToken === '') return found;
    pageToken = nextPageToken;
  }
}

/** The assignment with its principal, if only its name is known. */
const whole = async (assignment: JsonObject, { caller }: Session): Promise<JsonObject> =>
  assignment.principal === undefined
    ? caller.call('identity', methodOf(Service.identity, 'GetRoleAssignment'), assignment)
    : assignment;

const contextOf = ({ caller, clock }: Session) => ({ caller, switches: new Set<string>(), now: clock.now() });

async function remove({ name, role, scope, principal }: JsonObject, session: Session): Promise<void> {
  const { caller, terminal, output, settings, trace } = session;
  const request = { name: String(name) };
  const answer = await caller.call('identity', methodOf(Service.identity, 'DeleteRoleAssignment'), request);
  if (output.isDocument) return output.write(answer);
  const short = (text: unknown): string => shortName(String(text), settings.names);
  terminal.out(role === undefined ? 'done' : `${typed(role)} at ${String(scope)} is removed from ${short(principal)}`);
  if (trace !== undefined) terminal.err(`trace: ${trace}`);
}
