/** One image: what it runs and what goes into it. */
export interface Image {
  readonly description: string;
  readonly main: string;
  readonly packages: readonly string[];
  readonly folders: readonly string[];
  /** Stage of the recipe; absent: the last. */
  readonly target?: string;
  /** Whether optional dependencies are installed; default false. */
  readonly hasOptional?: boolean;
}
export const images: Readonly<Record<string, Image>>;
