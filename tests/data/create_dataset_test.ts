import { assertEquals, assertInstanceOf, assertNotEquals, assertThrows } from "@std/assert";
import { type ArrayDataset, createDataset } from "../../lib/data/create_dataset.ts";
import { UserError } from "../../lib/errors.ts";

/** `count` images of 2x1 grey pixels in turn of two classes; the bytes of image i are i. */
function arrays(count: number): ArrayDataset {
  return {
    images: Uint8Array.from({ length: 2 * count }, (_, i) => i >> 1),
    labels: Array.from({ length: count }, (_, i) => i % 2),
    ...{ height: 1, width: 2, channels: 1, classNames: ["even", "odd"] },
  };
}

Deno.test("every image is in one split, with its label", () => {
  const { train, validation, test, name } = createDataset(arrays(40));
  assertEquals([name, train.count, validation!.count, test.count], ["images", 32, 4, 4]);
  const seen: number[] = [];
  for (const { images, labels, count } of [train, validation!, test]) {
    for (let i = 0; i < count; i++) {
      assertEquals(images[2 * i], images[2 * i + 1]);
      assertEquals(labels[i], images[2 * i]! % 2);
      seen.push(images[2 * i]!);
    }
  }
  assertEquals(seen.sort((a, b) => a - b), Array.from({ length: 40 }, (_, i) => i));
});

Deno.test("splits that are given are kept, and the bytes are copied", () => {
  const given = arrays(4);
  const images = given.images;
  const dataset = createDataset({
    ...given,
    validation: arrays(2),
    test: { images, labels: [1, 1, 0, 0] },
  });
  assertEquals([dataset.train.count, dataset.validation!.count], [4, 2]);
  assertEquals([...dataset.test.labels], [0, 1, 0, 1]);
  assertEquals([...dataset.test.images], [2, 2, 0, 0, 3, 3, 1, 1]);
  images[0] = 99;
  assertEquals(dataset.train.images[0], 0);
});

Deno.test("the identity is of the records: the bytes, the labels and where they are", () => {
  const { identity } = createDataset(arrays(40));
  assertEquals(createDataset(arrays(40)).identity, identity);
  const changed = arrays(40);
  changed.images[7]! ^= 1;
  assertNotEquals(createDataset(changed).identity, identity);
  assertNotEquals(createDataset({ ...arrays(40), seed: 7 }).identity, identity);
});

Deno.test("labels may exceed 255", () => {
  const classNames = Array.from({ length: 300 }, (_, i) => `class ${i}`);
  const labels = classNames.map((_, i) => i);
  const images = new Uint8Array(300 * 2);
  const { train } = createDataset({ ...arrays(0), images, labels, classNames });
  assertInstanceOf(train.labels, Uint16Array);
  assertEquals([...train.labels], labels);
});

Deno.test("what cannot be is refused in a sentence", () => {
  const wrong: [Partial<ArrayDataset>, string][] = [
    [{ images: new Uint8Array(79) }, "79 bytes are not 40 images of 1x2x1, one a label"],
    [
      { labels: [...arrays(39).labels as number[], 2] },
      "a label 2, but 2 classes have labels from 0",
    ],
    [{ labels: [...arrays(39).labels as number[], -1] }, "a label -1"],
    [{ labels: [...arrays(39).labels as number[], 0.5] }, "a label 0.5"],
    [{ test: { images: new Uint8Array(3), labels: [0] } }, "3 bytes are not 1 images"],
    [{ height: 0 }, "height cannot be 0"],
    [{ channels: 5 }, "channels cannot be 5"],
    [{ testSplit: 1 }, "testSplit cannot be 1"],
    [{ validationSplit: NaN }, "validationSplit cannot be NaN"],
    [{ seed: -1 }, "seed cannot be -1"],
    [{ classNames: ["same", "same"] }, 'two classes of the name "same"'],
  ];
  for (const [fields, says] of wrong) {
    assertThrows(() => createDataset({ ...arrays(40), ...fields }), UserError, says);
  }
});
