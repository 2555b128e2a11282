import { type Command, Option } from 'commander';
import { fullName } from '../request/names.ts';
import type { Session } from '../session/session.ts';
import type { ImageOptions } from './disk-image.ts';
import { type ImageFormat, imageFormats } from './image-format.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

/** Script of the clone that builds the guest image. */
const buildScript = 'deploy/guest-image/build.ts';

/** Adds `image build`. */
export function addImageCommands(program: Command, runner: Pick<Runner, 'inClone'>): void {
  const image = program.command('image').description('the Linux that machines in QEMU run').usage('<verb> [--flags]');
  const build = image.command('build').description('builds it of Debian packages, for the clouds of this clone');
  build.addOption(filled('--output <folder>', 'where it goes in place of .interlock/guest-image of the clone'));
  build.action(() => {
    const { output }: { readonly output?: string } = build.opts();
    return runner.inClone(buildScript, output === undefined ? [] : [output], build.optsWithGlobals());
  });
}

/** Adds `disk import` and `disk export`. */
export function addDiskImageCommands(disk: Command, runner: Runner): void {
  const add = (verb: 'import' | 'export', words: readonly [string, string], text: string): void => {
    const command = disk.command(verb).description(text);
    for (const word of words) command.argument(word);
    command.addOption(
      new Option('--format <format>', 'format of the file; by default that of its name').choices(imageFormats),
    );
    command.option('--end-other-access', 'ends an existing direct access; without it the command is refused');
    command.action((first: string, second: string) => {
      const [file, name] = verb === 'import' ? [first, second] : [second, first];
      return runner.withSession(`disk ${verb}`, command.optsWithGlobals(), async (session) => {
        const { exportImage, importImage } = await import('./disk-image.ts');
        const options = imageOptions(file, name, command.opts(), session);
        await (verb === 'import' ? importImage(options, session) : exportImage(options, session));
      });
    });
  };
  add(
    'import',
    ['<file>', '<disk>'],
    'writes an image file to the beginning of a disk that no running machine has attached',
  );
  add('export', ['<disk>', '<file>'], 'writes a disk that no running machine has attached to a new image file');
}

const imageOptions = (
  file: string,
  name: string,
  { format, endOtherAccess }: { readonly format?: ImageFormat; readonly endOtherAccess?: boolean },
  { settings }: Session,
): ImageOptions => ({
  disk: fullName('disk', name, settings.names, '<disk>'),
  endsOther: endOtherAccess === true,
  file,
  format,
});
