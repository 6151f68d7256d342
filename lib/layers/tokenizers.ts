/** The ways of making tokens of an image; the table's keys are the words of the field `tokenizer`. */
import { conv } from "./tokenizers/conv.ts";
import { patches } from "./tokenizers/patches.ts";
import { shifted } from "./tokenizers/shifted.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

/** The tokenizers by name. */
export const tokenizers = { patches, shifted, conv } satisfies Record<string, Tokenizer>;

/** A tokenizer's name. */
export type TokenizerName = keyof typeof tokenizers;
