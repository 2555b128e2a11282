import type { FastifyError } from 'fastify';
import type { Plane } from '../errors/answers.ts';
import { RestError } from '../errors/rest-error.ts';

/** One error of the validator. */
type Invalid = NonNullable<FastifyError['validation']>[number];

/** `properties.accessPolicies[0].objectId` for the validator's `/properties/accessPolicies/0` and `objectId`. */
const memberOf = (pointer: string, member?: unknown): string => {
  const names = pointer
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const all = typeof member === 'string' ? [...names, member] : names;
  return all.map((name, n) => (/^\d+$/.test(name) ? `[${name}]` : n === 0 ? name : `.${name}`)).join('');
};

const valuesAllowed = ({ params }: Invalid): string => {
  const { allowedValues, allowedValue } = params as { allowedValues?: readonly unknown[]; allowedValue?: unknown };
  const allowed = allowedValues ?? (allowedValue === undefined ? [] : [allowedValue]);
  return allowed.length === 0 ? '' : `: ${allowed.join(', ')}`;
};

/** The refusal of a body that does not fit the schema of its route. It names the member, and what it must be. */
export const invalidBody = (validation: readonly Invalid[], plane: Plane): RestError => {
  const [first] = validation;
  const code = plane === 'vault' ? 'BadParameter' : 'InvalidRequestContent';
  if (first === undefined) return new RestError(400, code, 'the body does not have the form of this request');
  const isMissing = first.keyword === 'required';
  const target = memberOf(first.instancePath, isMissing ? first.params.missingProperty : undefined);
  const message = isMissing
    ? `Required parameter '${target}' is missing (null).`
    : `${target === '' ? 'the body' : `'${target}'`} ${first.message ?? 'is invalid'}${valuesAllowed(first)}`;
  return new RestError(400, code, message, target === '' ? {} : { details: [{ code, message, target }] });
};
