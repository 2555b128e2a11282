/** Copies folders of the workspace without files that only tests and readers need. @param app an existing folder */
export function copySources(folders: readonly string[], app: string): void;
/** Strips the types of every .ts file below a folder; names stay. */
export function takeTypesOut(folder: string): void;
/** Removes declarations, source maps, sources and documentation of npm packages. @param kept names of files that stay */
export function prune(folder: string, kept?: RegExp): void;
