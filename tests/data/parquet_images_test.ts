import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ByteWriter, parquetWrite } from "npm:hyparquet-writer@0.17.0";
import { openImageFolder, openParquet } from "../../lib/data/open_images.ts";
import { parquetImages } from "../../lib/data/parquet_images.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder } from "./fixtures.ts";
import { picture } from "./picture_files.ts";

/** By Arrow 25.0.1 (`created_by`), as Hugging Face writes it: rows of `photos/`, four a group. */
const photos = new URL("./photos.parquet", import.meta.url).pathname;

interface Row {
  image: { bytes: Uint8Array | null; path: string | null } | null;
  label: bigint | null;
}

const names = ["ant", "bee"];

/** Rows of two classes, one picture each. */
function rows(count: number, first = 0): Row[] {
  return Array.from({ length: count }, (_, i) => {
    return { image: { bytes: picture(first + i), path: `${i}.png` }, label: BigInt(i % 2) };
  });
}

/** Writes such rows as Hugging Face names and types them. */
async function writeRows(
  path: string,
  rows: Row[],
  { features, label = "label", image = "image" }: {
    features?: unknown;
    label?: string;
    image?: string;
  } = {},
): Promise<void> {
  const writer = new ByteWriter();
  const classes = { [label]: { names, _type: "ClassLabel" }, [image]: { _type: "Image" } };
  const info = { info: { features: features ?? classes } };
  parquetWrite({
    writer,
    columnData: [
      { name: image, data: rows.map(({ image }) => image) },
      { name: label, data: rows.map(({ label }) => label) },
    ],
    schema: [
      { name: "root", num_children: 2 },
      { name: image, num_children: 2, repetition_type: "OPTIONAL" },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: label, type: "INT64", repetition_type: "OPTIONAL" },
    ],
    rowGroupSize: 5,
    kvMetadata: [{ key: "huggingface", value: JSON.stringify(info) }],
  });
  await Deno.writeFile(path, new Uint8Array(writer.getBuffer()));
}

Deno.test("a file gives the records that the same pictures give in a folder", () =>
  inFolder(async (root) => {
    const options = { imageSize: 16, preparedRoot: root, workers: 1 };
    const file = await openParquet(photos, options);
    const folder = await openImageFolder(new URL("./photos", import.meta.url).pathname, options);
    assertEquals(file.classNames, folder.classNames);
    assertEquals(file.train, folder.train);
    assertEquals(file.validation, folder.validation);
    assertEquals(file.test, folder.test);
  }));

Deno.test("files of a folder are split by their names, or those of their folders", () =>
  inFolder(async (root) => {
    await writeRows(`${root}/test-00000-of-00001.parquet`, rows(3));
    await writeRows(`${root}/train-00001-of-00002.parquet`, rows(7, 10));
    await writeRows(`${root}/train-00000-of-00002.parquet`, rows(6, 20));
    await Deno.mkdir(`${root}/validation`);
    await writeRows(`${root}/validation/0000.parquet`, rows(2, 30));
    const set = await parquetImages.open(root);
    assertEquals(set.counts, { train: 13, validation: 2, test: 3 });
    assertEquals(set.classNames, names);
    assertEquals(await parquetImages.classNames(root), names);
    // Over the ends of row groups and of a file.
    const some = await Array.fromAsync(set.read(4, 8));
    assertEquals(some.map(({ name, label }) => [name, label]), [
      ["row 4 of train-00000-of-00002.parquet", 0],
      ["row 5 of train-00000-of-00002.parquet", 1],
      ["row 0 of train-00001-of-00002.parquet", 0],
      ["row 1 of train-00001-of-00002.parquet", 1],
    ]);
    assertEquals(some.map(({ bytes }) => bytes!), [24, 25, 10, 11].map((n) => picture(n)));
  }));

Deno.test("columns of other names are found by their kind, and labels name themselves", () =>
  inFolder(async (root) => {
    const path = `${root}/a.parquet`;
    await writeRows(path, rows(4), { image: "img", label: "fine_label" });
    assertEquals((await parquetImages.open(path)).classNames, names);
    await writeRows(path, rows(4), { features: {} });
    assertEquals((await parquetImages.open(path)).classNames, ["0", "1"]);
  }));

Deno.test("a picture that is none is broken, and named by its row", () =>
  inFolder(async (root) => {
    const some = rows(8);
    some[3]!.image!.bytes = new TextEncoder().encode("no picture");
    some[5]!.image = null;
    await writeRows(`${root}/a.parquet`, some);
    const notices: string[] = [];
    const options = { imageSize: 8, preparedRoot: `${root}/prepared`, workers: 1 };
    const onNotice = (text: string) => notices.push(text);
    const { train, validation, test } = await openParquet(`${root}/a.parquet`, {
      ...{ ...options, onNotice },
    });
    assertEquals(train.count + validation!.count + test.count, 6);
    assertStringIncludes(notices[0]!, "2 of 8 pictures cannot be read and are left out, the first");
    const [folder] = await Array.fromAsync(Deno.readDir(`${root}/prepared`));
    const list = await Deno.readTextFile(`${root}/prepared/${folder!.name}/broken.txt`);
    assertStringIncludes(list, "row 3 of a.parquet is text; give a PNG");
    assertStringIncludes(list, "row 5 of a.parquet is empty");
  }));

/** Reads every row of a file that is not as it should be. */
async function refusal(path: string): Promise<string> {
  const { message } = await assertRejects(async () => {
    const { counts, read } = await parquetImages.open(path);
    for await (const _ of read(0, counts.train)) { /* what is wrong may come late */ }
  }, UserError);
  assertEquals(message.split("\n").length, 1);
  return message;
}

Deno.test("a file that is cut short is refused in a sentence, wherever it is cut", () =>
  inFolder(async (root) => {
    const path = `${root}/a.parquet`;
    const { size } = await Deno.stat(photos);
    for (const length of [0, 3, 11, size >> 1, size - 8, size - 1]) {
      await Deno.copyFile(photos, path);
      await Deno.truncate(path, length);
      assertStringIncludes(await refusal(path), "it was cut short or damaged, so fetch it again");
    }
  }));

Deno.test("a file whose rows are damaged is refused in a sentence", () =>
  inFolder(async (root) => {
    const path = `${root}/a.parquet`;
    const bytes = await Deno.readFile(photos);
    bytes.fill(0xff, 4, 60);
    await Deno.writeFile(path, bytes);
    assertStringIncludes(await refusal(path), "are not whole");
  }));

Deno.test("labels out of range, or none, are refused in a sentence", () =>
  inFolder(async (root) => {
    const path = `${root}/a.parquet`;
    for (const [label, text] of [[2n, "2"], [-1n, "-1"], [null, "null"]] as const) {
      const some = rows(8);
      some[6]!.label = label;
      await writeRows(path, some);
      const message = await refusal(path);
      assertStringIncludes(message, `Row 6 of ${path} has the label ${text}, but 2 classes have`);
    }
  }));

Deno.test("another schema is refused, naming its columns", () =>
  inFolder(async (root) => {
    const path = `${root}/a.parquet`;
    const write = async (columnData: Parameters<typeof parquetWrite>[0]["columnData"]) => {
      const writer = new ByteWriter();
      parquetWrite({ writer, columnData });
      await Deno.writeFile(path, new Uint8Array(writer.getBuffer()));
    };
    await write([{ name: "text", data: ["a"] }, { name: "label", data: [1], type: "INT32" }]);
    assertStringIncludes(await refusal(path), "has the columns text, label, but none named image");
    await writeRows(path, rows(2), { label: "caption_length", features: {} });
    assertStringIncludes(await refusal(path), "but none named label that is of whole numbers");
    const pathsOnly = rows(2).map((row) => ({ ...row, image: { bytes: null, path: "a.png" } }));
    await writeRows(path, pathsOnly);
    assertStringIncludes(await refusal(path), "holds the path of a picture instead of its bytes");
  }));

Deno.test("paths without Parquet files for training are refused in a sentence", () =>
  inFolder(async (root) => {
    assertStringIncludes(await refusal(`${root}/nowhere`), "does not exist");
    assertStringIncludes(await refusal(root), "holds no files of the name *.parquet");
    await writeRows(`${root}/test-0.parquet`, rows(2));
    await writeRows(`${root}/validation-0.parquet`, rows(2));
    assertStringIncludes(await refusal(root), "has files for test, validation but none for train");
    await writeRows(`${root}/other.parquet`, rows(2));
    assertStringIncludes(await refusal(root), "other.parquet is named after no split");
    await writeRows(`${root}/train-0.parquet`, rows(2), { features: {} });
    await Deno.remove(`${root}/other.parquet`);
    assert((await refusal(root)).includes("has other classes than"));
  }));
