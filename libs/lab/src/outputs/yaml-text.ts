import { visible, visibleInLine } from '@interlock/runtime';
import { type Document, isScalar, Scalar, visit, Document as YamlDocument } from 'yaml';

/**
 * A value as YAML. Texts with control characters, or with marks of direction, are in double quotes and have escapes for them: they
 * are read back unchanged, and neither a terminal nor an editor obeys them.
 */
export const yamlText = (value: unknown, options: { readonly flowCollectionPadding?: boolean } = {}): string =>
  yamlTextOf(new YamlDocument(value, { aliasDuplicateObjects: false }), options);

/** The same for a document. */
export const yamlTextOf = (document: Document, options: { readonly flowCollectionPadding?: boolean } = {}): string => {
  visit(document, (_, node) => {
    if (isScalar(node) && typeof node.value === 'string' && visible(node.value) !== node.value)
      node.type = Scalar.QUOTE_DOUBLE;
  });
  // Only texts in double quotes have any left, and there these escapes are YAML.
  return visible(document.toString({ lineWidth: 0, ...options }));
};

/** A comment of one line, whatever is in the text. */
export const yamlComment = (text: string): string => `# ${visibleInLine(text)}\n`;
