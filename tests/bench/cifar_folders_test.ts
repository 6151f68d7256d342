import { assertEquals } from "@std/assert";
import { writeCifarFolders } from "../../bench/cifar_folders.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { modelConfigOf, preset } from "../../lib/config/run.ts";
import type { ImageDataset } from "../../lib/data/dataset.ts";
import { loadDataset } from "../../lib/data/load.ts";
import { openImageFolder } from "../../lib/data/open_images.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { fit } from "../../lib/train/fit.ts";
import { inFolder } from "../data/fixtures.ts";

const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 64 };

/** Losses and weights of an epoch. */
async function trained(dataset: ImageDataset): Promise<{ losses: unknown[]; weights: number[] }> {
  using data = new DeviceDataset(dataset, config);
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const { history } = await fit({ config, model, data });
  const losses = history.map(({ loss, accuracy, valLoss }) => [loss, accuracy, valLoss]);
  const weights = [...namedVariables(model).values()].flatMap((each) => [...each.dataSync()]);
  model.dispose();
  return { losses, weights };
}

Deno.test("CIFAR-100 as PNG files in folders trains as the binary files do, to the last bit", () =>
  inFolder(async (folder) => {
    await selectBackend("wasm");
    const shapes = createShapes({ train: 400, test: 100 });
    const classNames = shapes.classNames.map((_, i) => `class ${String(i).padStart(2, "0")}`);
    await writeCifarFolders({ ...shapes, classNames }, folder);
    const binary = await loadDataset({
      ...{ dataset: "cifar100", labels: "fine", data: `${folder}/binary`, root: folder },
    });
    const files = await openImageFolder(`${folder}/folders`, {
      ...{ storedSize: 32, preparedRoot: `${folder}/prepared` },
    });
    assertEquals([files.train.count, files.validation!.count, files.test.count], [360, 40, 100]);
    assertEquals(files.classNames, binary.classNames);
    assertEquals(files.test, binary.test);
    assertEquals(await trained(files), await trained(binary));
  }));
