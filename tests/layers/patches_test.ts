import { assertEquals } from "@std/assert";
import { Patches } from "../../lib/layers/patches.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

forEachBackend("patches go row by row, pixels in a patch too, channels last", async () => {
  // Two images of 4x6 pixels and 2 channels; every element is its own index.
  const [batch, height, width, channels, p] = [2, 4, 6, 2, 2] as const;
  const shape: [number, number, number, number] = [batch, height, width, channels];
  const images = tf.tensor4d(Array.from({ length: 96 }, (_, i) => i), shape);
  const layer = new Patches({ patchSize: p });
  const patches = layer.apply(images) as tf.Tensor3D;
  assertEquals(patches.shape, [batch, 6, p * p * channels]);
  const found = await patches.array();
  assertEquals(found[0]![0], [0, 1, 2, 3, 12, 13, 14, 15]);
  for (let b = 0; b < batch; b++) {
    for (let row = 0; row < height / p; row++) {
      for (let column = 0; column < width / p; column++) {
        const expected: number[] = [];
        for (let y = row * p; y < (row + 1) * p; y++) {
          for (let x = column * p; x < (column + 1) * p; x++) {
            for (let c = 0; c < channels; c++) {
              expected.push(((b * height + y) * width + x) * channels + c);
            }
          }
        }
        assertEquals(found[b]![row * (width / p) + column], expected);
      }
    }
  }
  tf.dispose([images, patches]);
  layer.dispose();
});
