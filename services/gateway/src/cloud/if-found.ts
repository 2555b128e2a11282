import { Rejection } from '@interlock/event-store';

/** @returns undefined where the resource does not exist @throws every other error */
export const ifFound = async <Found>(read: Promise<Found>): Promise<Found | undefined> => {
  try {
    return await read;
  } catch (error) {
    if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
};
