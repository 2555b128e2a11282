import { printEstate } from '../../estate/print-estate.ts';
import type { Experiment, Problem } from '../../experiment.ts';
import { chaosMeshPack } from './chaos-mesh.ts';
import { chaosToolkitPack } from './chaos-toolkit.ts';
import type { PackImage } from './container.ts';
import { litmusPack } from './litmus.ts';
import { packOf } from './pack.ts';

/** Tools that experiments are exported to. */
export const exportTools = ['chaos-toolkit', 'chaos-mesh', 'litmus'] as const;
export type ExportTool = (typeof exportTools)[number];

/** Options of an export. */
export interface ExportOptions extends PackImage {
  readonly tool: ExportTool;
  /** Name of the experiment in a cluster: lower case letters, digits and hyphens. */
  readonly name: string;
}

/**
 * Exports an experiment as files of another tool, by name: the experiment, and its estate. Comments at the top list what the tool
 * cannot express, and what it only has in a weaker form; `lost` has the same lines.
 */
export function exportExperiment(
  experiment: Experiment,
  { tool, name, image, group }: ExportOptions,
):
  | { readonly files: ReadonlyMap<string, string>; readonly lost: readonly string[] }
  | { readonly problems: readonly Problem[] } {
  const made = packOf(experiment);
  if ('problems' in made) return made;
  const { pack } = made;
  const parts = { image, group };
  const text =
    tool === 'chaos-toolkit'
      ? chaosToolkitPack(pack)
      : tool === 'chaos-mesh'
        ? chaosMeshPack(pack, name, parts)
        : litmusPack(pack, parts);
  return {
    lost: lostIn(text),
    files: new Map([
      [`${name}.${tool}.yaml`, text],
      ...(pack.estate === undefined
        ? []
        : [['estate.yaml', printEstate(pack.estate, [`The machines of ${pack.title}`])] as const]),
    ]),
  };
}

/** The lines of the head about what is left out or weaker. */
const lostIn = (text: string): readonly string[] => {
  let kind = '';
  return text.split('\n').flatMap((line): readonly string[] => {
    if (line.startsWith('# Not in it')) kind = 'not exported';
    else if (line.startsWith('# Weaker in it')) kind = 'weaker';
    return kind !== '' && line.startsWith('#   ') ? [`${kind}: ${line.slice(4)}`] : [];
  });
};
