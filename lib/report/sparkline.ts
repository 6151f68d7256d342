/** Blocks from the lowest to the highest. */
const blocks = "▁▂▃▄▅▆▇█";

/**
 * Numbers as a row of blocks, the lowest and the highest of them as the lowest and the highest block.
 * @param most characters; of more numbers each block is the mean of its share
 */
export function sparkline(values: readonly number[], most: number): string {
  const count = Math.min(most, values.length);
  const means = Array.from({ length: count }, (_, i) => {
    const [from, to] = [i, i + 1].map((at) => Math.round(at * values.length / count));
    const part = values.slice(from, to);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  const [least, greatest] = [Math.min(...means), Math.max(...means)];
  const top = blocks.length - 1;
  return means.map((value) => {
    const share = greatest > least ? (value - least) / (greatest - least) : 0;
    return blocks[Math.round(share * top)];
  }).join("");
}
