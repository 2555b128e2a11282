import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import { type GlobalFlags, services } from '../session/environment.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

interface EventsFlags extends GlobalFlags {
  readonly service?: string;
  readonly after?: string;
  readonly follow?: boolean;
}

/** Adds `events`: the stored events of services, for operators and readers of the platform. */
export function addEventsCommand(program: Command, runner: Pick<Runner, 'withSession'>): void {
  const events = program
    .command('events')
    .description('shows the events that services stored, by time, without fields that may hold secrets')
    .addOption(filled('--service <service>', 'of one service (default all)'))
    .addOption(filled('--after <position>', 'only events after this position of the service'))
    .option('--follow', 'continues with new events until Ctrl-C or --timeout; without --after from now on');
  events.action(() => {
    const flags: EventsFlags = events.optsWithGlobals();
    const { service, after, follow = false } = flags;
    if (after !== undefined && service === undefined)
      throw new UsageError('--after needs --service: each service counts its own positions');
    if (after !== undefined && !/^\d{1,15}$/.test(after))
      throw new UsageError(`--after must be 0 or a position of the service, not "${after}"`);
    const wanted = {
      services: service === undefined ? services : [choiceOf(service, services, '--service')],
      after: after === undefined ? undefined : Number(after),
      isFollowed: follow,
    };
    return runner.withSession('events', flags, async (session) => {
      const { showEvents } = await import('./events.ts');
      await showEvents(session, wanted);
    });
  });
}
