import { assertEquals, assertRejects } from "@std/assert";
import { runFieldTypes } from "../../lib/config/run.ts";
import { loadDataset } from "../../lib/data/load.ts";
import {
  datasetNames,
  type DataSource,
  type LabelKind,
  labelKinds,
  sources,
} from "../../lib/data/sources.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, writeCifar } from "./fixtures.ts";

Deno.test("the words of the field are the table's", () => {
  assertEquals(runFieldTypes.dataset!.type, Object.keys(sources).join("|"));
  assertEquals(datasetNames, ["cifar100", "cifar10", "shapes"]);
  assertEquals(runFieldTypes.labels!.type, labelKinds.join("|"));
});

Deno.test("a source has as many class names as it says, for each kind of labels", () =>
  inFolder(async (root) => {
    for (const name of ["cifar100", "cifar10"] as const) {
      const folder = `${root}/${sources[name].folder}`;
      await Deno.mkdir(folder);
      await writeCifar(folder, name);
    }
    for (const name of datasetNames) {
      const { classes }: DataSource = sources[name];
      for (const [labels, count] of Object.entries(classes)) {
        const dataset = await loadDataset({ dataset: name, labels: labels as LabelKind, root });
        assertEquals(dataset.classNames.length, count, `${name} ${labels}`);
        assertEquals(dataset.name.split(" ")[0], name);
      }
    }
  }));

Deno.test("a kind of labels that a source has not is refused", async () => {
  for (const name of datasetNames) {
    const { classes }: DataSource = sources[name];
    for (const labels of labelKinds.filter((kind) => classes[kind] === undefined)) {
      await assertRejects(
        () => loadDataset({ dataset: name, labels, root: "nowhere" }),
        UserError,
        `${name} has no ${labels} labels; choose fine.`,
      );
    }
  }
});
