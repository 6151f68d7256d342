import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { parseRunConfig, preset, runFieldTypes } from "../../lib/config/run.ts";
import { loadDataset } from "../../lib/data/load.ts";
import {
  datasetNames,
  datasetWords,
  type DataSource,
  type LabelKind,
  labelKinds,
  pictureSources,
  sources,
} from "../../lib/data/sources.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, writeCifar } from "./fixtures.ts";

Deno.test("the words of the field are the tables'", () => {
  const kinds = Object.keys(pictureSources).map((kind) => `${kind}:PATH`);
  assertEquals(datasetWords, [...Object.keys(sources), ...kinds]);
  assertStringIncludes(runFieldTypes.dataset!.description, datasetWords.join(", "));
  for (const dataset of [...datasetNames, "folder:a b/ü", "parquet:x"]) {
    assertEquals<string>(parseRunConfig({ ...preset("tiny"), dataset }).dataset, dataset);
  }
  for (const dataset of ["cifar", "folder", "folder:", "folders:x", "x:folder:y", "", 5, null]) {
    assertThrows(
      () => parseRunConfig({ ...preset("tiny"), dataset }),
      UserError,
      "must be cifar100, cifar10, shapes, folder:PATH or parquet:PATH.",
    );
  }
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

Deno.test("a data set that is in no table is refused", async () => {
  await assertRejects(
    () => loadDataset({ dataset: "cifar1000" as "cifar100", labels: "fine", root: "nowhere" }),
    UserError,
    'There is no data set "cifar1000"; known are cifar100, cifar10, shapes, folder:PATH',
  );
});

Deno.test("options of archives are refused for pictures", async () => {
  const pictures = { dataset: "folder:nowhere", root: "nowhere" } as const;
  await assertRejects(
    () => loadDataset({ ...pictures, labels: "coarse" }),
    UserError,
    "has no coarse labels",
  );
  await assertRejects(
    () => loadDataset({ ...pictures, labels: "fine", md5: "none" }),
    UserError,
    "--md5 none checks an archive; leave it out.",
  );
});
