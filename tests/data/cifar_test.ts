import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { cifarLayouts, readCifar } from "../../lib/data/cifar.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, records, writeCifar } from "./fixtures.ts";

const { cifar10, cifar100 } = cifarLayouts;

Deno.test("CIFAR-100: planes become interleaved pixels", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const { train } = await readCifar(folder, cifar100, "fine");
    const file = records(3, 2);
    for (const [record, y, x, channel] of [[0, 0, 0, 0], [1, 3, 5, 1], [2, 31, 31, 2]] as const) {
      assertEquals(
        train.images[record * 3072 + (y * 32 + x) * 3 + channel],
        file[record * 3074 + 2 + channel * 1024 + y * 32 + x],
      );
    }
  }));

Deno.test("CIFAR-100: fine and coarse labels come from their own bytes", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const train = records(2, 2);
    train.set([7, 93], 0);
    await Deno.writeFile(`${folder}/train.bin`, train);
    const fine = await readCifar(folder, cifar100, "fine");
    const coarse = await readCifar(folder, cifar100, "coarse");
    assertEquals([fine.train.labels[0], fine.classNames.length], [93, 100]);
    assertEquals([coarse.train.labels[0], coarse.classNames.length], [7, 20]);
    assertEquals(coarse.classNames[3], "coarse_label_names.txt 3");
  }));

Deno.test("CIFAR-10: five train files in their order, one label byte", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar10");
    const { train, test, classNames } = await readCifar(folder, cifar10, "fine");
    assertEquals([train.count, test.count, classNames.length], [15, 2, 10]);
    assertEquals([...train.labels.subarray(0, 6)], [0, 1, 2, 0, 1, 2]);
    // The third record of the fourth file.
    assertEquals(train.images[11 * 3072], records(3, 1, 9)[2 * 3073 + 1]);
  }));

Deno.test("records that cross the reader's buffer stay whole", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const file = new Uint8Array(2001 * 3074);
    for (let i = 0; i < 2001; i++) file.fill(i % 100, i * 3074 + 1, (i + 1) * 3074);
    await Deno.writeFile(`${folder}/train.bin`, file);
    const { train } = await readCifar(folder, cifar100, "fine");
    assertEquals(train.count, 2001);
    for (const i of [0, 999, 1000, 1999, 2000]) {
      assertEquals([train.labels[i], train.images[i * 3072]], [i % 100, i % 100]);
    }
  }));

Deno.test("the identity covers every record byte and does not depend on the labels used", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const before = await readCifar(folder, cifar100, "fine");
    assertEquals((await readCifar(folder, cifar100, "coarse")).identity, before.identity);
    const test = records(2, 2, 100);
    test[test.length - 1]! ^= 1;
    await Deno.writeFile(`${folder}/test.bin`, test);
    assertNotEquals((await readCifar(folder, cifar100, "fine")).identity, before.identity);
  }));

Deno.test("a record file of a wrong length is named with its length", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    await Deno.writeFile(`${folder}/test.bin`, new Uint8Array(3073));
    await assertRejects(
      () => readCifar(folder, cifar100, "fine"),
      UserError,
      `${folder}/test.bin has 3073 bytes`,
    );
  }));

Deno.test("an empty record file is refused", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    await Deno.writeFile(`${folder}/train.bin`, new Uint8Array());
    await assertRejects(() => readCifar(folder, cifar100, "fine"), UserError, "has 0 bytes");
  }));

Deno.test("a label out of range is named with file, record and value", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const train = records(3, 2);
    train[2 * 3074 + 1] = 100;
    await Deno.writeFile(`${folder}/train.bin`, train);
    await assertRejects(
      () => readCifar(folder, cifar100, "fine"),
      UserError,
      `${folder}/train.bin: record 2 has label 100`,
    );
  }));

Deno.test("the label that is not asked for is checked too", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    const train = records(3, 2);
    train[3074] = 20;
    await Deno.writeFile(`${folder}/train.bin`, train);
    await assertRejects(
      () => readCifar(folder, cifar100, "fine"),
      UserError,
      "record 1 has label 20",
    );
  }));

Deno.test("a missing file is named", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar10");
    await Deno.remove(`${folder}/data_batch_4.bin`);
    await assertRejects(
      () => readCifar(folder, cifar10, "fine"),
      UserError,
      `${folder}/data_batch_4.bin is missing`,
    );
  }));

Deno.test("a list of too few class names is refused", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar100");
    await Deno.writeTextFile(`${folder}/fine_label_names.txt`, "apple\nbear\n");
    await assertRejects(
      () => readCifar(folder, cifar100, "fine"),
      UserError,
      "names 2 classes, but there must be 100",
    );
  }));

Deno.test("CIFAR-10 has no coarse labels", () =>
  inFolder(async (folder) => {
    await assertRejects(() => readCifar(folder, cifar10, "coarse"), UserError, "no coarse labels");
  }));
