/** Folders of small pictures for tests. */
import { dirname } from "@std/path";
import { encodePng } from "../../lib/report/encode_png.ts";

/** A picture of its own for each number: PNG of `width` x `height` pixels. */
export function picture(number: number, width = 6, height = 5): Uint8Array {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    return Math.imul(i + 1, 2654435761 + 40503 * number) >>> 24;
  });
  return encodePng({ width, height, channels: 3, data });
}

/**
 * Writes files below a folder, by their paths: a text as it is, for a number the picture of that
 * number.
 */
export async function writeTree(
  root: string,
  files: Record<string, number | string | Uint8Array>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await Deno.mkdir(dirname(`${root}/${path}`), { recursive: true });
    const bytes = typeof content === "number"
      ? picture(content)
      : typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    await Deno.writeFile(`${root}/${path}`, bytes);
  }
}

/** `count` pictures of each class, as {@linkcode writeTree} takes them. */
export function classesOf(
  names: readonly string[],
  count: number,
  folder = "",
): Record<string, number> {
  return Object.fromEntries(
    names.flatMap((name, label) =>
      Array.from({ length: count }, (_, i) => {
        const path = `${folder}${name}/${String(i).padStart(4, "0")}.png`;
        return [path, label * 1000 + i + 50_000 * folder.length];
      })
    ),
  );
}
