/** The colours of charts and pages, in light and in dark. */

/** Colours that follow the page, by their names in its style sheet; the values are those of light. */
export const pageColors = { ink: "#1f2328", muted: "#59636e", rule: "#d1d9e0" } as const;

/** Colours of lines that colour-blind people can tell apart (Okabe and Ito, 2008). */
export const lineColors = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
] as const;

/** Every eighth of viridis, the colours of matplotlib that grow evenly lighter. */
const viridis = [
  ...[[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141]],
  ...[[39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]],
] as [number, number, number][];

/** The colour of a share, 0 (dark) to 1 (light): red, green and blue from 0 to 255. */
export function heat(share: number): [number, number, number] {
  const at = Math.min(1, Math.max(0, share)) * (viridis.length - 1);
  const i = Math.min(viridis.length - 2, Math.floor(at));
  const [from, to] = [viridis[i]!, viridis[i + 1]!];
  return from.map((value, c) => Math.round(value + (to[c]! - value) * (at - i))) as [
    number,
    number,
    number,
  ];
}
