import { assert, assertEquals } from "@std/assert";
import { marks } from "../../bench/photo_files.ts";
import { decodeImage } from "../../lib/data/image/decode.ts";

const files = {
  ...{ jpg: "baseline.jpg", png: "plain.png", webp: "lossy.webp", gif: "still.gif" },
  ...{ bmp: "plain.bmp", tif: "plain.tiff", avif: "plain.avif" },
};

for (const [kind, name] of Object.entries(files)) {
  Deno.test(`a marked ${kind} is another file of the same pixels`, async () => {
    const bytes = await Deno.readFile(new URL(`../data/pictures/${name}`, import.meta.url));
    const [one, two] = ["1/7", "1/10"].map((text) =>
      marks[kind as keyof typeof marks](bytes, text)
    );
    assert(one!.length > bytes.length && two!.length >= one!.length);
    const decoded = await decodeImage(bytes, name);
    for (const marked of [one!, two!]) assertEquals(await decodeImage(marked, name), decoded);
  });
}
