/** As many of each service are worth reading after something went wrong. */
const linesMax = 5;
const lettersMax = 1_200;

/** The newest errors in a log of JSON lines, oldest first, each cut where it becomes a book. Other lines are none. */
export const errorLines = (log: string): readonly string[] =>
  log
    .split('\n')
    .filter((line) => /^\{.*"level":"error"/.test(line))
    .slice(-linesMax)
    .map((line) => (line.length <= lettersMax ? line : `${line.slice(0, lettersMax)}…`));
