/** Guesses at what somebody may have meant. */
import { levenshteinDistance } from "./deps.ts";

/**
 * The known word nearest to a wrong one: a third of the letters differ at most, or they are the same
 * in another order, or it is the only one that contains the other; undefined where none is near.
 */
export function nearest(wrong: string, known: readonly string[]): string | undefined {
  // A longer one is near nothing, and the work grows with its length.
  const word = wrong.slice(0, 80).toLowerCase();
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const other = name.toLowerCase();
    const distance = levenshteinDistance(word, other);
    const most = Math.max(1, Math.floor(Math.max(word.length, name.length) / 3));
    const isNear = distance <= most || (distance === 2 && sorted(word) === sorted(other));
    if (isNear && distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  if (best || word.length < 4) return best?.name;
  const containing = known.filter((name) => name.toLowerCase().includes(word));
  return containing.length === 1 ? containing[0] : undefined;
}

function sorted(word: string): string {
  return [...word].sort().join("");
}
