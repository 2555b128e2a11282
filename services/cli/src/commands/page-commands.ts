import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { durationMs } from '../request/field-values.ts';
import { fullName } from '../request/names.ts';
import type { GlobalFlags } from '../session/environment.ts';
import { placeOf } from '../session/place.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

/** Flags of `page`. */
interface PageFlags extends GlobalFlags {
  readonly since?: string;
  readonly port?: string;
}

/** Adds `page`: the report that keeps going. */
export function addPageCommand(program: Command, runner: Pick<Runner, 'offline' | 'withSession'>): void {
  const page = program
    .command('page')
    .description('serves a live page about keys and machines of the group or of the subscription on this computer')
    .addOption(filled('--since <duration>', 'how far back the timeline goes: 10m, 2h (default 10m)'))
    .addOption(filled('--port <port>', 'port on 127.0.0.1 (default: the one of the last time, or a free one)'));
  page.action(() => {
    const flags: PageFlags = page.optsWithGlobals();
    const windowMs = durationMs(flags.since ?? '10m', '--since');
    const port = flags.port === undefined ? undefined : portOf(flags.port);
    return runner.offline(flags, ({ env }) =>
      runner.withSession('page', flags, async (session) => {
        const { names } = session.settings;
        const parent =
          names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, '--group');
        if (parent === undefined) throw new UsageError('name what to show with --group or --subscription');
        const { data, cluster } = placeOf(flags, env);
        const { servePage } = await import('../page/page.ts');
        const shown = { parent, title: names.group ?? parent, windowMs, port };
        await servePage(session, { ...shown, data: cluster === undefined ? data : undefined });
      }),
    );
  });
}

/** @throws UsageError */
function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new UsageError(`--port must be a port from 1 to 65535, not "${text}"`);
}
