import { Rejection } from './rejection.ts';

/** @returns the refusal of a change of a stream that other writers change all the time */
export const contention = (id: string): Rejection =>
  new Rejection('ABORTED', 'CONTENTION', `${id} is changed by other calls all the time; try again`, { name: id });

/** The same for several streams. */
export const contentionOfMany = (count: number): Rejection =>
  new Rejection('ABORTED', 'CONTENTION', `${count} streams are changed by other calls all the time; try again`, {});

/** @returns the refusal of a change that was decided on another version of the stream than the current one */
export const etagMismatch = (id: string, expected: number, actual: number): Rejection =>
  new Rejection(
    'ABORTED',
    'ETAG_MISMATCH',
    `${id} has etag ${actual}, not ${expected}: read it again and decide again`,
    {
      name: id,
      etag: String(actual),
      expected: String(expected),
    },
  );
