/** The cluster cannot be used as asked. The message names the cure; the command ends with exit code 1. */
export class ClusterProblem extends Error {
  override readonly name = 'ClusterProblem';
}
