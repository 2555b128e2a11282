import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { fullName } from '../request/names.ts';
import type { Session } from '../session/session.ts';
import type { DataOptions } from './disk-data.ts';
import { single } from './once.ts';
import type { Runner } from './runner.ts';

/** Adds `disk read`, `disk write` and `disk flush`: the data path, for disks that no running machine has attached. */
export function addDiskDataCommands(disk: Command, runner: Runner): void {
  const read = disk.command('read').description('Reads a range of a disk that no running machine has attached');
  read.argument('<disk>').addOption(single('--offset <n>', 'first byte; 0 by default'));
  read.addOption(single('--length <n>', 'number of bytes, 1 or more; to the end of the disk by default'));
  read.addOption(
    single(
      '--output <file>',
      'file in place of standard output; - writes to standard output also when it is a terminal',
    ),
  );
  addEndOther(read);
  read.action((name: string) => {
    const { offset = '0', length, output }: Record<string, string | undefined> = read.opts();
    const range = {
      offset: bytes(offset, '--offset'),
      length: length === undefined ? undefined : bytes(length, '--length', 1),
    };
    return runner.withSession('disk read', read.optsWithGlobals(), async (session) => {
      const { readDisk } = await import('./disk-data.ts');
      return readDisk({ ...dataOptions(name, read, session), ...range, output }, session);
    });
  });

  const write = disk
    .command('write')
    .description('Writes standard input to a disk that no running machine has attached');
  write.argument('<disk>').addOption(single('--offset <n>', 'first byte; 0 by default'));
  write.addOption(single('--input <file>', 'file in place of standard input'));
  write.option('--flush', 'flushes the data to stable storage');
  addEndOther(write);
  write.action((name: string) => {
    const flags: Record<string, unknown> = write.opts();
    const offset = bytes(String(flags.offset ?? '0'), '--offset');
    const input = typeof flags.input === 'string' ? flags.input : undefined;
    return runner.withSession('disk write', write.optsWithGlobals(), async (session) => {
      const { writeDisk } = await import('./disk-data.ts');
      const options = dataOptions(name, write, session);
      return writeDisk({ ...options, offset, input, isFlushed: flags.flush === true }, session);
    });
  });

  const flush = disk.command('flush').description('Flushes every acknowledged write of a disk to stable storage');
  flush.argument('<disk>');
  addEndOther(flush);
  flush.action((name: string) =>
    runner.withSession('disk flush', flush.optsWithGlobals(), async (session) => {
      const { flushDisk } = await import('./disk-data.ts');
      return flushDisk(dataOptions(name, flush, session), session);
    }),
  );
}

const addEndOther = (command: Command): Command =>
  command
    .option('--end-other-access', 'ends an existing direct access; without it the command is refused')
    .addHelpText(
      'after',
      '\nThe command begins a direct access of its own, and ends it. A disk has one at a\ntime (disk end-access ends it).',
    );

const dataOptions = (text: string, command: Command, { settings }: Session): DataOptions => ({
  disk: fullName('disk', text, settings.names, '<disk>'),
  endsOther: command.opts().endOtherAccess === true,
});

function bytes(text: string, flag: string, least: 0 | 1 = 0): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new UsageError(`${flag} must be a number of bytes, ${least} or more, not "${text}"`);
}
