import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import type { Workload } from '@interlock/rpc';
import { readUserFile } from '@interlock/runtime';
import type { Command } from 'commander';
import { aligned } from '../output/align.ts';
import { UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import { type CloudContext, contextNamed, readContexts, writeContexts } from '../session/contexts.ts';
import { type GlobalFlags, services } from '../session/environment.ts';
import { credentialsFrom } from '../session/settings.ts';
import { filled } from './once.ts';
import type { OfflineParts, Runner } from './runner.ts';

/** Flags of `context add`, in addition to the global ones. */
interface AddFlags extends GlobalFlags {
  readonly address?: readonly string[];
  readonly caFile?: string;
  readonly certificateFile?: string;
  readonly keyFile?: string;
  readonly tenant?: string;
  readonly use?: boolean;
}

/** Adds `context add`, `list`, `show`, `use` and `remove`: named clouds. They call no service. */
export function addContextCommands(program: Command, runner: Pick<Runner, 'offline'>): void {
  const context = program
    .command('context')
    .description('named clouds: where they are, and who calls them')
    .usage('<verb> [name] [--flags]');
  const command = (
    name: string,
    description: string,
    argument: string | undefined,
    act: (parts: OfflineParts, name: string | undefined, flags: AddFlags) => void,
  ): Command => {
    const made = context.command(name).description(description);
    if (argument !== undefined) made.argument(argument);
    return made.action((...args: unknown[]) => {
      const named = typeof args[0] === 'string' ? args[0] : undefined;
      return runner.offline(made.optsWithGlobals(), async (parts) => act(parts, named, made.optsWithGlobals()));
    });
  };
  const add = command('add', 'Adds a context', '<name>', (parts, name = '', flags) => addContext(name, flags, parts));
  addFlags(add).addHelpText('after', addHelp);
  command('list', 'Lists the contexts; * marks the current one', undefined, listContexts);
  command('show', 'Shows a context; the current one by default', '[name]', showContext);
  command('use', 'Makes a context the current one', '<name>', useContext);
  command('remove', 'Removes a context; the cloud stays as it is', '<name>', removeContext);
}

const addFlags = (add: Command): Command =>
  add
    .option(
      '--address <service=host:port>',
      `address of a service: ${services.join(', ')}. Can be repeated`,
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .addOption(filled('--ca-file <file>', "PEM file of the authority that signed the services' certificates"))
    .addOption(filled('--certificate-file <file>', "PEM file of the client's certificate"))
    .addOption(filled('--key-file <file>', 'PEM file of its key'))
    .addOption(filled('--tenant <tenant>', 'default tenant of new resources'))
    .option('--use', 'makes it the current context; the first context always is');

const addHelp = `
<name> has 1 to 63 letters, digits, dots and dashes.

Where the cloud is, one of:
  --data <folder>          the data folder of a launcher on this machine
  --address … --ca-file    addresses of the services; --certificate-file and
                           --key-file if they require a client certificate
  --kube-context <name>    a cluster; --namespace as well
The context also keeps: --as, --group, --subscription, --tenant. Flags and the
environment of a command supply the rest.`;

function addContext(name: string, flags: AddFlags, { env, terminal }: OfflineParts): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(name)) {
    throw new UsageError(
      `<name> must be 1 to 63 letters, digits, dots and dashes and begin with a letter or digit, not "${name}"`,
    );
  }
  const { current, contexts } = readContexts(env);
  if (Object.hasOwn(contexts, name))
    throw new UsageError(`context "${name}" exists: interlock context remove ${name}, or choose another name`);
  const isCurrent = flags.use === true || current === undefined;
  writeContexts(env, { current: isCurrent ? name : current, contexts: { ...contexts, [name]: contextOf(flags) } });
  terminal.err(
    isCurrent
      ? `${name} is added, and is the current context`
      : `${name} is added: interlock context use ${name} makes it the current one`,
  );
}

function listContexts({ env, terminal, output }: OfflineParts): void {
  const { current, contexts } = readContexts(env);
  const all = Object.entries(contexts);
  if (output.isDocument) {
    const shown = all.map(([name, context]) => ({ name, isCurrent: name === current, ...jsonOf(context) }));
    output.write({ contexts: shown });
    return;
  }
  const rows = all.map(([name, context]) => [
    `${name === current ? '* ' : '  '}${name}`,
    context.group ?? '',
    locationOf(context),
  ]);
  terminal.out(rows.length === 0 ? 'none' : aligned([['  NAME', 'GROUP', 'CLOUD'], ...rows]));
}

function showContext({ env, terminal, output }: OfflineParts, named: string | undefined): void {
  const contexts = readContexts(env);
  const name = named ?? contexts.current;
  if (name === undefined) throw new UsageError('no context is current: interlock context list shows the contexts');
  const context = contextNamed(contexts, name, 'context show');
  if (output.isDocument) {
    output.write({ name, ...jsonOf(context) });
    return;
  }
  const { addresses = {}, ...rest } = context;
  const titleOf = (field: string): string => field.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const fields = Object.entries(rest).map(([field, value]) => [titleOf(field), String(value)]);
  for (const line of aligned([['name', name], ...fields, ...Object.entries(addresses)]).split('\n')) terminal.out(line);
}

function useContext({ env, terminal }: OfflineParts, name = ''): void {
  const contexts = readContexts(env);
  contextNamed(contexts, name, 'context use');
  writeContexts(env, { ...contexts, current: name });
  terminal.err(`${name} is the current context`);
}

function removeContext({ env, terminal }: OfflineParts, name = ''): void {
  const { current, contexts } = readContexts(env);
  contextNamed({ current, contexts }, name, 'context remove');
  const { [name]: _, ...rest } = contexts;
  writeContexts(env, { current: current === name ? undefined : current, contexts: rest });
  terminal.err(current === name ? `${name} is removed; no context is current now` : `${name} is removed`);
}

/** The context in the flags. @throws UsageError unless they describe exactly one cloud, and completely */
function contextOf(flags: AddFlags): CloudContext {
  const { data, kubeContext, namespace, address, caFile, certificateFile, keyFile, group, subscription, tenant } =
    flags;
  const ways = [
    data !== undefined && '--data',
    kubeContext !== undefined && '--kube-context',
    address !== undefined && '--address',
  ].filter((way) => way !== false);
  if (ways.length !== 1) {
    const given = ways.length === 0 ? '' : ` (given: ${ways.join(' and ')})`;
    throw new UsageError(`name the cloud with exactly one of --data, --kube-context and --address${given}`);
  }
  if (address !== undefined && caFile === undefined)
    throw new UsageError('--address needs --ca-file: the authority of the services');
  if ((certificateFile === undefined) !== (keyFile === undefined))
    throw new UsageError('--certificate-file and --key-file need each other');
  if (namespace !== undefined && kubeContext === undefined) throw new UsageError('--namespace needs --kube-context');
  const file = (path: string | undefined, flag: string): string | undefined =>
    path === undefined ? undefined : readable(resolve(path), flag);
  const all = {
    data: data === undefined ? undefined : dataFolderOf(resolve(data)),
    kubeContext,
    namespace,
    addresses: address === undefined ? undefined : addressesIn(address),
    caFile: file(caFile, '--ca-file'),
    certificateFile: file(certificateFile, '--certificate-file'),
    keyFile: file(keyFile, '--key-file'),
    as: flags.as === undefined ? undefined : callerOf(flags.as),
    tenant: tenant?.replace(/^(?!tenants\/)/, 'tenants/'),
    subscription,
    group,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** @throws UsageError unless every service has exactly one address */
function addressesIn(texts: readonly string[]): Readonly<Record<string, string>> {
  const found = new Map<Workload, string>();
  for (const text of texts) {
    const [, service, at] = /^([a-z-]+)=([^=\s]+:\d{1,5})$/.exec(text) ?? [];
    if (service === undefined || at === undefined)
      throw new UsageError(`--address must look like identity=host:port, not "${text}"`);
    const name = choiceOf(service, services, '--address');
    if (found.has(name)) throw new UsageError(`--address names ${name} twice`);
    found.set(name, at);
  }
  const missing = services.filter((name) => !found.has(name));
  if (missing.length > 0) throw new UsageError(`--address is missing for ${missing.join(', ')}`);
  return Object.fromEntries(found);
}

/** `<principal>:<absolute path>`. @throws UsageError for unreadable credentials */
function callerOf(text: string): string {
  const { principal } = credentialsFrom(text, '--as');
  return `${principal}:${resolve(text.slice(text.indexOf(':') + 1))}`;
}

/** @throws UsageError for a folder that no launcher has used. It stays that of a cloud while the cloud is down. */
function dataFolderOf(folder: string): string {
  if (existsSync(join(folder, 'administrator.json'))) return folder;
  throw new UsageError(
    `--data ${folder} is not the data folder of a cloud: it has no administrator.json. npm run up makes one (.interlock of the clone, or INTERLOCK_DATA)`,
  );
}

function readable(path: string, flag: string): string {
  try {
    readUserFile(path);
    return path;
  } catch (error) {
    throw new UsageError(`${flag} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Where the cloud is, in short. */
const locationOf = ({ data, kubeContext, namespace, addresses }: CloudContext): string =>
  data ??
  (kubeContext === undefined
    ? (addresses?.identity ?? '')
    : `cluster ${kubeContext}${namespace === undefined ? '' : `, namespace ${namespace}`}`);

const jsonOf = (context: CloudContext): JsonObject => JSON.parse(JSON.stringify(context));
