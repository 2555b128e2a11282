import { Type } from '@sinclair/typebox';

/** A whole number that a field of a service holds. A larger one could not be sent to it. */
export const Int32 = Type.Integer({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 });
