/** Target of an action. `key`: a group (its key) or the name of a key; `host`: a disk host or VM host; `step`: the step that `give-back` undoes. */
export type TargetKind = 'key' | 'part' | 'two-parts' | 'group' | 'host' | 'step';

/** Options of steps in addition to `at`, `as`, `for` and `leave`. */
export type OptionName = 'permission' | 'operation' | 'to' | 'by' | 'clock' | 'start';

/** What the timeline, its schema and its pages know of an action. */
export interface ActionKind {
  readonly targets: TargetKind;
  /** What it did, as the text of a label: `role removed`. */
  readonly done: string;
  /** One sentence, for the schema. */
  readonly description: string;
  readonly options?: Readonly<Partial<Record<OptionName, 'needed' | 'allowed'>>>;
  /** It cannot be undone, or is over when it is done. */
  readonly isFinal?: boolean;
}
