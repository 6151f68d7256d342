import { assertEquals } from "@std/assert";
import { decodeImage } from "../../lib/data/image/decode.ts";
import { encodePng } from "../../lib/report/encode_png.ts";
import { gradient, grey } from "../data/image/files.ts";

Deno.test("what is encoded as PNG comes back", async () => {
  const image = gradient(13, 7);
  assertEquals(await decodeImage(encodePng(image), "a.png"), image);
  const one = encodePng({ width: 2, height: 1, channels: 1, data: Uint8Array.of(3, 250) });
  assertEquals([...(await decodeImage(one, "a.png")).data], grey(3, 250));
});
