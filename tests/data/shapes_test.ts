import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createShapes, shapesClassNames } from "../../lib/data/shapes.ts";

Deno.test("100 classes with the names of their colour and shape", () => {
  assertEquals(new Set(shapesClassNames).size, 100);
  assertEquals(shapesClassNames[0], "red circle");
  assertEquals(shapesClassNames[99], "black hourglass");
});

Deno.test("the same seed gives the same bytes, another seed others", () => {
  const first = createShapes({ train: 200, test: 100 });
  const second = createShapes({ train: 200, test: 100 });
  assertEquals(first.train.images, second.train.images);
  assertEquals(first.identity, second.identity);
  assertNotEquals(createShapes({ train: 200, test: 100, seed: 1 }).identity, first.identity);
});

Deno.test("the bytes stay those that earlier runs were trained on", () => {
  const { identity } = createShapes({ train: 200, test: 100 });
  assertEquals(identity, "a05f32aad106ad905685588104363a30621df7e8a6c285ad85cffa570f3d02a5");
});

Deno.test("labels are balanced, and in another order in each split", () => {
  const { train, test } = createShapes({ train: 300, test: 300 });
  const counts = new Array(100).fill(0);
  for (const label of train.labels) counts[label]++;
  assertEquals(counts, new Array(100).fill(3));
  assertNotEquals([...train.labels], [...test.labels]);
  assertNotEquals([...train.labels.subarray(0, 5)], [0, 1, 2, 3, 4]);
});

Deno.test("images of one class differ, also between the splits", () => {
  const { train, test } = createShapes({ train: 200, test: 100 });
  const seen = new Set<string>();
  for (const { images, count } of [train, test]) {
    for (let i = 0; i < count; i++) seen.add(images.subarray(i * 3072, i * 3072 + 3072).join());
  }
  assertEquals(seen.size, 300);
});

Deno.test("every shape covers a good part of its image in its colour", () => {
  const { train } = createShapes({ train: 400, test: 1 });
  // Against the grey of the ground a red shape has much more red than blue.
  for (let i = 0; i < train.count; i++) {
    if (train.labels[i]! % 10 !== 0) continue;
    let red = 0;
    for (let p = i * 3072; p < (i + 1) * 3072; p += 3) {
      if (train.images[p]! - train.images[p + 2]! > 100) red++;
    }
    assert(red > 40 && red < 700, `${shapesClassNames[train.labels[i]!]} has ${red} red pixels`);
  }
});
