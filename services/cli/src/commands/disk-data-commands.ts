import { type Command, Option } from 'commander';
import { fullName } from '../request/names.ts';
import { UsageError } from '../request/usage-error.ts';
import type { Session } from '../session/session.ts';
import type { DataWish } from './disk-data.ts';
import { endOtherAccess } from './end-other-access.ts';
import { single } from './once.ts';
import type { Runner } from './runner.ts';

/** Adds `disk read`, `disk write` and `disk flush`: the data path, for disks no running machine has. */
export function addDiskDataCommands(disk: Command, runner: Runner): void {
  const read = disk.command('read').description('Reads a range of a disk that no running machine has');
  read.argument('<disk>').addOption(single('--offset <n>', 'where to begin, in bytes; 0 when absent'));
  read.addOption(single('--length <n>', 'how many bytes, 1 or more; to the end of the disk when absent'));
  read.addOption(single('--output <file>', 'in place of standard output; - is standard output, also to a terminal'));
  addEndOther(read);
  read.action((name: string) => {
    const { offset = '0', length, output }: Record<string, string | undefined> = read.opts();
    const range = {
      offset: bytes(offset, '--offset'),
      length: length === undefined ? undefined : bytes(length, '--length', 1),
    };
    return runner.withSession('disk read', read.optsWithGlobals(), async (session) => {
      const { readDisk } = await import('./disk-data.ts');
      return readDisk({ ...dataWish(name, read, session), ...range, output }, session);
    });
  });

  const write = disk.command('write').description('Writes standard input to a disk that no running machine has');
  write.argument('<disk>').addOption(single('--offset <n>', 'where to begin, in bytes; 0 when absent'));
  write.addOption(single('--input <file>', 'in place of standard input'));
  write.option('--flush', 'puts it on stable storage before it ends');
  addEndOther(write);
  write.action((name: string) => {
    const options: Record<string, unknown> = write.opts();
    const offset = bytes(String(options.offset ?? '0'), '--offset');
    const input = typeof options.input === 'string' ? options.input : undefined;
    return runner.withSession('disk write', write.optsWithGlobals(), async (session) => {
      const { writeDisk } = await import('./disk-data.ts');
      const wish = dataWish(name, write, session);
      return writeDisk({ ...wish, offset, input, isFlushed: options.flush === true }, session);
    });
  });

  const flush = disk.command('flush').description('Puts every acknowledged write of a disk on stable storage');
  flush.argument('<disk>');
  addEndOther(flush);
  flush.action((name: string) =>
    runner.withSession('disk flush', flush.optsWithGlobals(), async (session) => {
      const { flushDisk } = await import('./disk-data.ts');
      return flushDisk(dataWish(name, flush, session), session);
    }),
  );
}

const addEndOther = (command: Command): Command =>
  command
    .option(`--${endOtherAccess}`, 'ends a direct access that somebody has; without it the command is refused then')
    .addHelpText(
      'after',
      '\nThe command begins a direct access of its own, and ends it. A disk has one at a\ntime (disk end-access ends it).',
    );

const dataWish = (text: string, command: Command, { settings }: Session): DataWish => ({
  disk: fullName('disk', text, settings.names, '<disk>'),
  endsOther: command.opts()[new Option(`--${endOtherAccess}`).attributeName()] === true,
});

function bytes(text: string, flag: string, least: 0 | 1 = 0): number {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new UsageError(`${flag} must be a number of bytes, ${least} or more, not "${text}"`);
}
