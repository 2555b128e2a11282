import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Workload } from '@interlock/rpc';
import type { Command } from 'commander';
import type { Output } from '../output/output.ts';
import { UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import { type CloudContext, type Contexts, contextNamed, readContexts, writeContexts } from '../session/contexts.ts';
import { type GlobalFlags, services as serviceNames } from '../session/environment.ts';
import { credentialsFrom } from '../session/settings.ts';
import { filled } from './once.ts';
import type { OfflineParts, Runner } from './runner.ts';

/** Flags of `context add` beside the global ones. */
interface AddFlags extends GlobalFlags {
  readonly address?: readonly string[];
  readonly caFile?: string;
  readonly certificateFile?: string;
  readonly keyFile?: string;
  readonly tenant?: string;
  readonly use?: boolean;
}

/** Adds `context add`, `list`, `show`, `use` and `remove`: clouds by name. They ask no service. */
export function addContextCommands(program: Command, runner: Pick<Runner, 'offline'>): void {
  const context = program
    .command('context')
    .description('clouds by name: where they are, and who acts there')
    .usage('<verb> [name] [--flags]');

  const add = context
    .command('add')
    .description('Names a cloud. What is not said of it is taken from flags and the environment of each command')
    .argument('<name>', 'letters, digits, dots and dashes, 63 at most')
    .option(
      '--address <service=host:port>',
      `where a service is: ${serviceNames.join(', ')}. Can be repeated`,
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .addOption(filled('--ca-file <file>', "PEM file of the authority the services' certificates come from"))
    .addOption(filled('--certificate-file <file>', "PEM file of the client's certificate"))
    .addOption(filled('--key-file <file>', 'PEM file of its key'))
    .addOption(filled('--tenant <tenant>', 'tenant of what is made without saying in which'))
    .option('--use', 'makes it the current one; the first one is in any case')
    .addHelpText('after', addHelp);
  add.action((name: string) =>
    runner.offline(add.optsWithGlobals(), async (parts) => addContext(name, add.optsWithGlobals(), parts)),
  );

  const list = context.command('list').description('Lists the contexts; * marks the current one');
  list.action(() =>
    runner.offline(list.optsWithGlobals(), async ({ env, terminal, output }) => {
      const contexts = readContexts(env);
      if (output.isDocument) output.write(documentOf(contexts));
      else terminal.out(tableOf(contexts));
    }),
  );

  const show = context
    .command('show')
    .description('Shows a context; the current one where none is named')
    .argument('[name]');
  show.action((name: string | undefined) =>
    runner.offline(show.optsWithGlobals(), async ({ env, terminal, output }) => {
      const contexts = readContexts(env);
      const shown = name ?? contexts.current;
      if (shown === undefined)
        throw new UsageError('no context is the current one: interlock context list shows those there are');
      showContext(shown, contextNamed(contexts, shown, 'context show'), output, terminal.out);
    }),
  );

  const use = context.command('use').description('Makes a context the current one').argument('<name>');
  use.action((name: string) =>
    runner.offline(use.optsWithGlobals(), async ({ env, terminal }) => {
      const contexts = readContexts(env);
      contextNamed(contexts, name, 'context use');
      writeContexts(env, { ...contexts, current: name });
      terminal.err(`${name} is the current context`);
    }),
  );

  const remove = context
    .command('remove')
    .description('Forgets a context; the cloud stays as it is')
    .argument('<name>');
  remove.action((name: string) =>
    runner.offline(remove.optsWithGlobals(), async ({ env, terminal }) => {
      const { current, contexts } = readContexts(env);
      contextNamed({ current, contexts }, name, 'context remove');
      const { [name]: _, ...rest } = contexts;
      writeContexts(env, { current: current === name ? undefined : current, contexts: rest });
      terminal.err(current === name ? `${name} is removed; no context is the current one now` : `${name} is removed`);
    }),
  );
}

const addHelp = `
Where the cloud is, one of:
  --data <folder>          the data folder of a launcher on this machine
  --address … --ca-file    addresses of the services; --certificate-file and
                           --key-file where they want to see a certificate
  --kube-context <name>    a cluster; --namespace as well
Kept with it where given: --as, --group, --subscription, --tenant.`;

function addContext(name: string, flags: AddFlags, { env, terminal }: OfflineParts): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(name)) {
    throw new UsageError(
      `<name> must be 1 to 63 letters, digits, dots and dashes and begin with a letter or digit, not "${name}"`,
    );
  }
  const { current, contexts } = readContexts(env);
  if (Object.hasOwn(contexts, name)) {
    throw new UsageError(
      `there is a context "${name}" already: interlock context remove ${name}, or take another name`,
    );
  }
  const isCurrent = flags.use === true || current === undefined;
  writeContexts(env, { current: isCurrent ? name : current, contexts: { ...contexts, [name]: contextOf(flags) } });
  terminal.err(
    isCurrent
      ? `${name} is added, and is the current context`
      : `${name} is added: interlock context use ${name} makes it the current one`,
  );
}

/** What the flags say of a cloud. @throws UsageError for one that cannot be reached by them */
function contextOf(flags: AddFlags): CloudContext {
  const { data, kubeContext, namespace, address, caFile, certificateFile, keyFile, group, subscription, tenant } =
    flags;
  const ways = [
    data !== undefined && '--data',
    kubeContext !== undefined && '--kube-context',
    address !== undefined && '--address',
  ].filter((way) => way !== false);
  if (ways.length !== 1) {
    throw new UsageError(
      `say where the cloud is with one of --data, --kube-context and --address${ways.length === 0 ? '' : `, not with ${ways.join(' and ')}`}`,
    );
  }
  if (address !== undefined && caFile === undefined)
    throw new UsageError('--address needs --ca-file: the authority the services are trusted by');
  if ((certificateFile === undefined) !== (keyFile === undefined))
    throw new UsageError('--certificate-file and --key-file are of use only together');
  if (namespace !== undefined && kubeContext === undefined)
    throw new UsageError('--namespace belongs to --kube-context');
  const file = (path: string | undefined, flag: string): string | undefined =>
    path === undefined ? undefined : readable(resolve(path), flag);
  const all = {
    data: data === undefined ? undefined : resolve(data),
    kubeContext,
    namespace,
    addresses: address === undefined ? undefined : addressesIn(address),
    caFile: file(caFile, '--ca-file'),
    certificateFile: file(certificateFile, '--certificate-file'),
    keyFile: file(keyFile, '--key-file'),
    as: flags.as === undefined ? undefined : actorOf(flags.as),
    tenant: tenant?.replace(/^(?!tenants\/)/, 'tenants/'),
    subscription,
    group,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** @throws UsageError for a text of another shape, a service that does not exist, and one that is named twice or not at all */
function addressesIn(texts: readonly string[]): Readonly<Record<string, string>> {
  const found = new Map<Workload, string>();
  for (const text of texts) {
    const [, service, at] = /^([a-z-]+)=([^=\s]+:\d{1,5})$/.exec(text) ?? [];
    if (service === undefined || at === undefined)
      throw new UsageError(`--address must look like identity=host:port, not "${text}"`);
    const name = choiceOf(service, serviceNames, '--address');
    if (found.has(name)) throw new UsageError(`--address names ${name} twice`);
    found.set(name, at);
  }
  const missing = serviceNames.filter((name) => !found.has(name));
  if (missing.length > 0) throw new UsageError(`--address is missing for ${missing.join(', ')}`);
  return Object.fromEntries(found);
}

/** `<principal>:<file>` with the whole path of the file. @throws UsageError for credentials that cannot be read */
function actorOf(text: string): string {
  const { principal } = credentialsFrom(text, '--as');
  return `${principal}:${resolve(text.slice(text.indexOf(':') + 1))}`;
}

function readable(path: string, flag: string): string {
  try {
    readFileSync(path);
    return path;
  } catch (error) {
    throw new UsageError(`${flag} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Where it is, in a word. */
const placeOfContext = ({ data, kubeContext, namespace, addresses }: CloudContext): string =>
  data ??
  (kubeContext === undefined
    ? (addresses?.identity ?? '')
    : `cluster ${kubeContext}${namespace === undefined ? '' : `, namespace ${namespace}`}`);

function tableOf({ current, contexts }: Contexts): string {
  const rows = Object.entries(contexts).map(([name, context]) => [
    `${name === current ? '* ' : '  '}${name}`,
    context.group ?? '',
    placeOfContext(context),
  ]);
  if (rows.length === 0) return 'none';
  const lines = [['  NAME', 'GROUP', 'CLOUD'], ...rows];
  const widths = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const documentOf = ({ current, contexts }: Contexts) => ({
  contexts: Object.entries(contexts).map(([name, context]) => ({
    name,
    isCurrent: name === current,
    ...flat(context),
  })),
});

/** A context as JSON that protobuf JSON is made of as well. */
const flat = ({ addresses, ...rest }: CloudContext) => ({
  ...rest,
  ...(addresses === undefined ? {} : { addresses: { ...addresses } }),
});

function showContext(name: string, context: CloudContext, output: Output, out: (text: string) => void): void {
  if (output.isDocument) {
    output.write({ name, ...flat(context) });
    return;
  }
  const { addresses, ...rest } = context;
  const lines: readonly (readonly [string, string])[] = [
    ['name', name],
    ...Object.entries(rest).map(
      ([field, value]) => [field.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`), String(value)] as const,
    ),
    ...Object.entries(addresses ?? {}),
  ];
  const width = Math.max(...lines.map(([field]) => field.length));
  for (const [field, value] of lines) out(`${field.padEnd(width)}  ${value}`);
}
