import { assertEquals } from "@std/assert";
import { openBoth, trained, writeCifarFolders } from "../../bench/cifar_folders.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { preset } from "../../lib/config/run.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { inFolder } from "../data/fixtures.ts";

const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 64 };

Deno.test("CIFAR-100 as PNG files in folders trains as the binary files do, to the last bit", () =>
  inFolder(async (folder) => {
    await selectBackend("wasm");
    const shapes = createShapes({ train: 400, test: 100 });
    const classNames = shapes.classNames.map((_, i) => `class ${String(i).padStart(2, "0")}`);
    await writeCifarFolders({ ...shapes, classNames }, folder);
    const { files, binary } = await openBoth(folder);
    assertEquals([files.train.count, files.validation!.count, files.test.count], [360, 40, 100]);
    assertEquals(files.classNames, binary.classNames);
    assertEquals(files.test, binary.test);
    assertEquals(await trained(files, config), await trained(binary, config));
  }));
