/**
 * What tells the tokens' places; the table's keys are the words of the field `positionEmbedding`.
 * Learned positions are a weight of the layer that adds them, so they need nothing here.
 */

/** A fixed embedding: `[side * side, dim]`, row by row, or none. */
type FixedPositions = ((side: number, dim: number) => Float32Array) | undefined;

/** The position embeddings by name: whether they are learned, and what they are if not. */
export const positionEmbeddings = {
  learned: { learned: true, fixed: undefined },
  sincos2d: { learned: false, fixed: sincos2d },
  none: { learned: false, fixed: undefined },
} satisfies Record<string, { learned: boolean; fixed: FixedPositions }>;

/** @internal */
type PositionEmbeddings = typeof positionEmbeddings;

/** A position embedding's name. */
export type PositionEmbeddingName = keyof PositionEmbeddings;

/**
 * Sines and cosines of a token's column and row (Beyer et al., "Better plain ViT baselines", 2022,
 * `posemb_sincos_2d` of big_vision): sin x, cos x, sin y, cos y, each of a quarter of the numbers, of
 * frequencies from 1 down to 1/10000.
 *
 * @param side tokens along a side
 * @param dim a multiple of 4
 */
function sincos2d(side: number, dim: number): Float32Array {
  const quarter = dim / 4;
  const table = new Float32Array(side * side * dim);
  for (let token = 0; token < side * side; token++) {
    const places = [token % side, Math.floor(token / side)];
    for (const [axis, place] of places.entries()) {
      for (let i = 0; i < quarter; i++) {
        const angle = place * 10_000 ** (-i / Math.max(1, quarter - 1));
        const at = token * dim + 2 * axis * quarter + i;
        table[at] = Math.sin(angle);
        table[at + quarter] = Math.cos(angle);
      }
    }
  }
  return table;
}
