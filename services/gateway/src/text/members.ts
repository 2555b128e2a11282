import { type SchemaOptions, type Static, type TSchema, Type } from '@sinclair/typebox';

/**
 * Schema of an object with members of any name, each of which fits the schema. `Type.Record` checks only the members whose name the
 * expression `^(.*)$` finds, and it finds no name with a line break.
 */
export const membersOf = <Member extends TSchema>(member: Member, options: SchemaOptions = {}) =>
  Type.Unsafe<Record<string, Static<Member>>>(Type.Object({}, { ...options, additionalProperties: member }));
