/** The augmentations of a list. */
import type { Augmentation } from "./augmentation.ts";

/** One augmentation of a list. */
export interface Listed<A extends Augmentation = Augmentation> {
  name: string;
  augmentation: A;
  /** Its numbers; those that may be left out and are, are missing. */
  values: number[];
}

/** @internal */
type OfKind<K extends Augmentation["kind"]> = Listed<Extract<Augmentation, { kind: K }>>;

/** Those of a list that are of one kind. */
export function ofKind<K extends Augmentation["kind"]>(
  listed: readonly Listed[],
  kind: K,
): OfKind<K>[] {
  return listed.filter((each): each is OfKind<K> => each.augmentation.kind === kind);
}
