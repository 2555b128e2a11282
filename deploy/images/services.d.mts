/** One image: what it runs and what goes into it. */
export interface Image {
  readonly description: string;
  readonly main: string;
  readonly packages: readonly string[];
  readonly folders: readonly string[];
}
export const images: Readonly<Record<string, Image>>;
