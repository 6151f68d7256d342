/** Guesses at what somebody may have meant. */
import { levenshteinDistance } from "./deps.ts";

/**
 * The known word nearest to a wrong one: at most a third of the letters differ, or it is the only
 * one that contains the other; undefined where none is near.
 */
export function nearest(wrong: string, known: readonly string[]): string | undefined {
  // A longer one is near nothing, and the work grows with its length.
  const word = wrong.slice(0, 80).toLowerCase();
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const distance = levenshteinDistance(word, name.toLowerCase());
    const most = Math.ceil(Math.max(word.length, name.length) / 3);
    if (distance <= most && distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  if (best || word.length < 4) return best?.name;
  const containing = known.filter((name) => name.toLowerCase().includes(word));
  return containing.length === 1 ? containing[0] : undefined;
}
