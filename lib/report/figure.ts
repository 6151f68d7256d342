/** A figure of a report: a picture that also stands alone as a file. */
import { encodePng } from "./encode_png.ts";
import { html, Markup } from "./html.ts";
import type { Picture } from "./patches.ts";

/** A picture with its words. */
export interface Figure {
  /** Of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  /** What there is to see, a sentence or two for those who see it and those who do not. */
  readonly caption: string;
  /** An SVG, or the bytes of a PNG. */
  readonly image: string | Uint8Array;
}

/** A picture within another, as a tile of {@linkcode tilesSvg}. */
export interface Tile {
  readonly pictures: readonly Picture[];
  /** Lines below it. */
  readonly lines: readonly string[];
  /** Whether the first line is set off as right or wrong. */
  readonly isRight?: boolean;
}

/** Characters of a line below a tile; what is longer is cut. */
const lineLength = (width: number) => Math.floor(width / 6.3);

/**
 * Draws tiles in rows.
 * @param side pixels that each picture is drawn at
 * @param columns tiles of a row
 */
export function tilesSvg(tiles: readonly Tile[], side: number, columns: number): string {
  const gap = 12;
  const lineHeight = 15;
  const most = Math.max(...tiles.map(({ pictures }) => pictures.length));
  const lines = Math.max(...tiles.map((tile) => tile.lines.length));
  const tileWidth = most * side + (most - 1) * 4;
  const tileHeight = side + lines * lineHeight + 8;
  const rows = Math.ceil(tiles.length / columns);
  const width = Math.min(columns, tiles.length) * (tileWidth + gap) - gap;
  const height = rows * (tileHeight + gap) - gap;
  const drawn = tiles.map((tile, i) => {
    const x = (i % columns) * (tileWidth + gap);
    const y = Math.floor(i / columns) * (tileHeight + gap);
    const pictures = tile.pictures.map((picture, at) =>
      html`
        <image x="${x + at * (side + 4)}" y="${y}" width="${side}" height="${side}" href="${pngUrl(
          encodePng(picture),
        )}"
          style="image-rendering:pixelated" />
      `
    );
    const texts = tile.lines.map((line, at) => {
      const mark = at > 0 || tile.isRight === undefined ? "" : tile.isRight ? "✓ " : "✗ ";
      const fill = at === 0 ? "var(--ink, #1f2328)" : "var(--muted, #59636e)";
      return html`<text x="${x}" y="${y + side + 14 + at * lineHeight}" fill="${fill}">${
        cut(mark + line, lineLength(tileWidth))
      }</text>`;
    });
    return [...pictures, ...texts];
  });
  return html`
    <svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"
      viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif"
      font-size="12">${drawn}</svg>
  `
    .text.trim();
}

/** A PNG for `src` and `href`. */
export function pngUrl(bytes: Uint8Array): string {
  return `data:image/png;base64,${bytes.toBase64()}`;
}

/** A picture enlarged by a whole factor, without smoothing. */
export function enlarged({ width, height, channels, data }: Picture, factor: number): Picture {
  const wide = width * factor;
  const bytes = new Uint8Array(wide * height * factor * channels);
  for (let y = 0; y < height * factor; y++) {
    for (let x = 0; x < wide; x++) {
      const from = (Math.floor(y / factor) * width + Math.floor(x / factor)) * channels;
      bytes.set(data.subarray(from, from + channels), (y * wide + x) * channels);
    }
  }
  return { width: wide, height: height * factor, channels, data: bytes };
}

/** A figure within a page. */
export function figureMarkup({ name, title, caption, image }: Figure): Markup {
  const label = `${title}. ${caption}`;
  const picture = typeof image === "string"
    // The SVG is our own, and its texts are escaped.
    ? html`<div role="img" aria-label="${label}">${new Markup(withoutSize(image))}</div>`
    : html`<img src="${pngUrl(image)}" alt="${label}">`;
  return html`
    <figure id="${name}">
      <div class="scroll">${picture}</div>
      <figcaption>${caption}</figcaption>
    </figure>
  `;
}

/** The file of a figure: its name and its bytes. */
export function figureFile({ name, image }: Figure): { name: string; bytes: Uint8Array } {
  if (typeof image !== "string") return { name: `${name}.png`, bytes: image };
  // Programs that draw SVG know no variables of a page.
  const plain = image.replace(/var\(--\w+, (#\w+)\)/g, "$1");
  return { name: `${name}.svg`, bytes: new TextEncoder().encode(plain) };
}

/** An SVG as wide as its place, but no wider than it is. */
function withoutSize(svg: string): string {
  const [, width = "640"] = /^<svg[^>]*? width="([\d.]+)"/.exec(svg) ?? [];
  return svg.replace("<svg", `<svg class="picture" style="max-width:${width}px"`);
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
