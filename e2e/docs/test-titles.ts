import { type Argument, parseSync, Visitor } from 'oxc-parser';

/** Functions that define a test. `t` is the usual name of the context that a test passes to its subtests. */
const testCallees = new Set(['test', 'it', 'describe', 'suite', 't']);
/** Tests that do not run prove nothing. */
const sleeping = new Set(['skip', 'todo']);

/**
 * Titles of the tests in a file, read from its syntax tree: comments and other text do not count. An expression in a template
 * is shown as `…`.
 */
export const testTitles = (file: string, text: string): readonly string[] => {
  const titles: string[] = [];
  visit(file, text, {
    CallExpression({ callee, arguments: given }) {
      const [first] = given;
      if (first === undefined || !isTest(callee)) return;
      const title = textIn(first);
      if (title !== undefined) titles.push(title);
    },
  });
  return titles;
};

/** First string arguments of the calls of a function: `rule('CMK-100', …)`. */
export const firstTextsOf = (called: string, file: string, text: string): readonly string[] => {
  const texts: string[] = [];
  visit(file, text, {
    CallExpression({ callee, arguments: [first] }) {
      const found = isNamed(callee) && callee.name === called && first !== undefined ? textIn(first) : undefined;
      if (found !== undefined) texts.push(found);
    },
  });
  return texts;
};

/** Walks a file. @throws Error when it does not parse */
export const visit = (file: string, text: string, visitor: ConstructorParameters<typeof Visitor>[0]): void => {
  const { program, errors } = parseSync(file, text);
  const [error] = errors;
  if (error) throw new Error(`${file} does not parse: ${error.message}`);
  new Visitor(visitor).visit(program);
};

type Callee = { readonly type: string };

const isTest = (callee: Callee): boolean => {
  if (isNamed(callee)) return testCallees.has(callee.name);
  if (!isMember(callee) || !isNamed(callee.object) || !isNamed(callee.property)) return false;
  return testCallees.has(callee.object.name) && !sleeping.has(callee.property.name);
};

const isNamed = (node: Callee): node is Callee & { readonly name: string } =>
  node.type === 'Identifier' && 'name' in node;

const isMember = (node: Callee): node is Callee & { readonly object: Callee; readonly property: Callee } =>
  node.type === 'MemberExpression' && 'object' in node && 'property' in node;

const textIn = (node: Argument): string | undefined => {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node.type === 'TemplateLiteral') return node.quasis.map(({ value }) => value.raw).join('…');
  return undefined;
};
