import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { durationMs } from '../request/field-values.ts';
import { fullName, shortName } from '../request/names.ts';
import type { GlobalFlags } from '../session/environment.ts';
import type { Session } from '../session/session.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

/** Flags of `report`. */
interface ReportFlags extends GlobalFlags {
  readonly since?: string;
  readonly output?: string;
}

/** Adds `report` and `watch`. */
export function addReportCommands(program: Command, runner: Pick<Runner, 'offline' | 'withSession'>): void {
  const report = program
    .command('report')
    .description('writes a page about what happened to the machines of a group and to their keys')
    .addOption(filled('--since <duration>', 'how far back: 90s, 2h (default 10m)'))
    .addOption(filled('--output <file>', 'the page (default report.html)'));
  report.action(() => {
    const flags: ReportFlags = report.optsWithGlobals();
    return runner.withSession('report', flags, (session) => writeReport(session, flags));
  });
  addWatchCommand(program, runner);
}

function addWatchCommand(program: Command, runner: Pick<Runner, 'offline' | 'withSession'>): void {
  const watch = program
    .command('watch')
    .description(
      'shows sets, leases and machines as they change, of the group or of the subscription, until Ctrl-C or --timeout',
    );
  watch.action(() => {
    const flags: GlobalFlags = watch.optsWithGlobals();
    return runner.offline(flags, ({ env }) =>
      runner.withSession('watch', flags, async (session) => {
        const { names } = session.settings;
        const parent =
          names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, '--group');
        if (parent === undefined) throw new UsageError('name what to watch with --group or --subscription');
        const { watchCloud } = await import('./watch.ts');
        // https://no-color.org
        const hasColours = (env.NO_COLOR ?? '') === '';
        await watchCloud(session, { parent, title: names.group ?? parent, hasColours });
      }),
    );
  });
}

async function writeReport(
  session: Session,
  { since = '10m', output: file = 'report.html' }: ReportFlags,
): Promise<void> {
  const { caller, settings, clock, terminal, output } = session;
  const { names } = settings;
  if (names.group === undefined) throw new UsageError('name the group with --group or INTERLOCK_GROUP');
  const toMs = clock.now();
  const { gatherActivity } = await import('../report/gather.ts');
  const activity = await gatherActivity(caller, {
    group: fullName('resourceGroup', names.group, names, '--group'),
    fromMs: toMs - durationMs(since, '--since'),
    toMs,
    short: (name) => shortName(name, names),
  });
  if (output.isDocument) return output.write(JSON.parse(JSON.stringify(activity)));
  const { activityPage } = await import('@interlock/lab/report/activity/activity-page');
  const page = Buffer.from(activityPage(activity));
  await terminal.writeFile(
    file,
    (async function* () {
      yield page;
    })(),
  );
  // The page counts no flushes either.
  const readsAndWrites = activity.io.filter(({ op }) => op !== 'flush').length;
  terminal.out(
    `${file}: machines ${activity.machines.length}, changes of their keys ${activity.changes.length}, reads and writes ${readsAndWrites}`,
  );
  for (const one of activity.unread) terminal.err(`not read: ${one}`);
}
