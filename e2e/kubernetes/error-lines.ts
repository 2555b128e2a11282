/** How many errors of each service are shown after a failure. */
const linesMax = 5;
const lettersMax = 1_200;

/** The newest errors in a log of JSON lines, oldest first, each cut to a readable length. Other lines do not count. */
export const errorLines = (log: string): readonly string[] =>
  log
    .split('\n')
    .filter((line) => /^\{.*"level":"error"/.test(line))
    .slice(-linesMax)
    .map((line) => (line.length <= lettersMax ? line : `${line.slice(0, lettersMax)}…`));
