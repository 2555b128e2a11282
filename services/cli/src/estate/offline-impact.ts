import type { JsonObject } from '@bufbuild/protobuf';
import { type EstateFile, type EstateLoss, impactOnEstate } from '@interlock/lab';
import { nearest } from '@interlock/runtime/nearest';
import type { OfflineParts } from '../commands/runner.ts';
import { render } from '../output/render.ts';
import { UsageError } from '../problems.ts';
import { methodOf, Service } from '../request/schema.ts';
import { choiceOf } from '../request/similar.ts';
import { impactNote } from '../verbs/notes.ts';
import { estateIn } from './write-estate.ts';

const losses: readonly EstateLoss[] = ['disable', 'delete', 'purge', 'expire', 'revoke'];

/** What was typed: `impact <vault[/key]> --estate <file>`. */
export interface OfflineImpact {
  readonly file: string;
  /** `vault/key`, or a vault: all its keys. */
  readonly key: string | undefined;
  readonly action: string | undefined;
}

/** Shows what the loss of a key does to the machines of an estate file. No service is called. @throws UsageError */
export function showOfflineImpact(
  { file, key, action }: OfflineImpact,
  { terminal, output }: Pick<OfflineParts, 'terminal' | 'output'>,
): void {
  const estate = estateIn(file, terminal);
  const wanted = key?.replace(/^vaults\/([^/]+)(?:\/keys\/)?/, (_, vault: string) => `${vault}/`).replace(/\/$/, '');
  const keys = keysOf(estate, wanted, file);
  const isVault = wanted !== undefined && !wanted.includes('/');
  const loss = lossOf(action, isVault);
  const { impacts, runOn } = impactOnEstate(estate, keys, loss);
  const response: JsonObject = { impacts: JSON.parse(JSON.stringify(impacts)) };
  if (output.isDocument) {
    output.write({ ...response, runOn: [...runOn] });
    return;
  }
  const { response: message } = methodOf(Service.diskEncryptionSet, 'PreviewImpact');
  terminal.out(render(message, response, { subscription: undefined, group: undefined }, output.width));
  const request: JsonObject = {
    [isVault ? 'vault' : 'key']: String(wanted),
    action: action === undefined ? 'ACTION_UNSPECIFIED' : loss.toUpperCase(),
  };
  const running = runOn.length === 0 ? '' : `, ${runOn.length} run on (${namesIn(runOn)})`;
  terminal.out(`${impactNote(response, request, (name) => name)}${running}`);
}

const NAMED_MAX = 5;
const namesIn = (all: readonly string[]): string =>
  `${all.slice(0, NAMED_MAX).join(', ')}${all.length > NAMED_MAX ? ', …' : ''}`;

function keysOf({ vaults }: EstateFile, wanted: string | undefined, file: string): ReadonlySet<string> {
  const all = vaults.flatMap(({ name, keys }) => keys.map((key) => `${name}/${key.name}`));
  if (wanted === undefined)
    throw new UsageError(`missing --key <vault/key>: ${file} has ${all.length === 0 ? 'none' : all.join(', ')}`);
  const found = all.filter((key) => key === wanted || key.split('/')[0] === wanted);
  if (found.length > 0) return new Set(found);
  const near = nearest(wanted, [...all, ...vaults.map(({ name }) => name)]);
  const cure = near === undefined ? `it has ${all.length === 0 ? 'none' : all.join(', ')}` : `did you mean ${near}?`;
  throw new UsageError(`${file} has no key or vault "${wanted}": ${cure}`);
}

const lossOf = (action: string | undefined, isVault: boolean): EstateLoss => {
  if (action === undefined) return isVault ? 'delete' : 'disable';
  return choiceOf(action.toLowerCase(), losses, '--action');
};
