import type { Command } from 'commander';
import { filled, single } from '../commands/once.ts';
import type { Runner } from '../commands/runner.ts';
import { UsageError } from '../problems.ts';

/** Sizes of disks are divided by it unless `--scale` says otherwise: 1 TiB becomes 1 GiB. */
const SCALE = '1024';

interface ImportFlags {
  readonly vaultSuffix?: string;
  readonly idle?: boolean;
  readonly writeAndVerify?: boolean;
}

/** Adds `estate export`, `estate import` and `estate from-azure`. Their work is loaded by those that run. */
export function addEstateCommands(program: Command, runner: Pick<Runner, 'withSession' | 'offline'>): void {
  const estate = program
    .command('estate')
    .description('estates as files: vaults, keys, sets, disks and machines')
    .usage('<export|import|from-azure> [--flags]');

  const exported = estate.command('export').description('writes the estate of a resource group as YAML');
  exported.addOption(outputOption());
  exported.action(() => {
    const { output }: { readonly output?: string } = exported.opts();
    return runner.withSession('estate export', exported.optsWithGlobals(), async (session) => {
      const { exportEstate } = await import('./export.ts');
      return exportEstate(output, session);
    });
  });

  const imported = estate
    .command('import')
    .description(
      'makes the estate of a file in a resource group. What exists with the same properties stays; a repeated command continues',
    )
    .argument('<file>', 'estate file; - is standard input')
    .addOption(
      filled(
        '--vault-suffix <text>',
        'is added to the names of vaults, which are unique in the cloud: kv1 becomes kv1-<text>',
      ),
    )
    .option(
      '--idle',
      'machines do no reads and writes; by default they write to the disks that the import makes, and check them',
    )
    .option('--write-and-verify', 'machines also write to disks that exist already, over what is there');
  imported.action((file: string) => {
    const { vaultSuffix = '', idle, writeAndVerify }: ImportFlags = imported.opts();
    if (idle === true && writeAndVerify === true)
      throw new UsageError('--idle and --write-and-verify exclude each other');
    const writing = idle === true ? 'never' : writeAndVerify === true ? 'always' : 'new disks';
    return runner.withSession('estate import', imported.optsWithGlobals(), async (session) => {
      const { importEstate } = await import('./import.ts');
      return importEstate(file, { vaultSuffix, writing }, session);
    });
  });

  const twin = estate
    .command('from-azure')
    .description(
      'makes a twin of an Azure subscription from what az vm list -d, az disk list, az disk-encryption-set list, az keyvault show and az keyvault key list print with -o json, or from rows of az graph query. Ends with 1 if machines are not in the twin',
    )
    .argument('<files...>', 'JSON files in any order, several of a kind')
    .addOption(single('--scale <n>', `divides the sizes of disks, to at least 1 GiB (default ${SCALE})`))
    .addOption(outputOption());
  twin.action((files: readonly string[]) => {
    const { scale = SCALE, output }: { readonly scale?: string; readonly output?: string } = twin.opts();
    return runner.offline(twin.optsWithGlobals(), async (parts) => {
      const { makeTwin } = await import('./from-azure.ts');
      return makeTwin(files, { scale: scaleOf(scale), file: output }, parts);
    });
  });
}

const outputOption = () => filled('--output <file>', 'a new file in place of standard output');

function scaleOf(text: string): number {
  const scale = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && scale >= 1 && scale <= 1_000_000) return scale;
  throw new UsageError(`--scale must be a number from 1 to 1000000 (got "${text}")`);
}
