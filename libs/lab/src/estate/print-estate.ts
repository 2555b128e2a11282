import { Document, isMap, isSeq } from 'yaml';
import { yamlComment, yamlTextOf } from '../outputs/yaml-text.ts';
import type { EstateFile } from './estate-file.ts';

/** An estate as YAML, one line for each resource. @param remarks lines on top, as comments */
export function printEstate(estate: EstateFile, remarks: readonly string[] = []): string {
  const document = new Document(estate);
  const sections = isMap(document.contents) ? document.contents.items.map(({ value }) => value) : [];
  for (const item of sections.flatMap((section) => (isSeq(section) ? section.items : [])))
    if (isMap(item)) item.flow = true;
  return remarks.map(yamlComment).join('') + yamlTextOf(document, { flowCollectionPadding: false });
}
