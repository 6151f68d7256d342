import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { loadDataset } from "../../lib/data/load.ts";
import { UserError } from "../../lib/errors.ts";
import {
  cifarEntries,
  type Entry,
  gzip,
  inFolder,
  listing,
  tarGz,
  writeCifar,
} from "./fixtures.ts";

type Dataset = "cifar100" | "cifar10";

/** Loads from `data`, which must be refused in one sentence, with nothing left in the root. */
async function refuses(
  data: string,
  root: string,
  message: RegExp,
  dataset: Dataset,
  md5?: string,
) {
  const error = await assertRejects(
    () => loadDataset({ dataset, labels: "fine", data, root, md5 }),
    UserError,
  );
  assertMatch(error.message, message);
  assertMatch(error.message, /^[\x20-\x7e]+\.$/);
  assertEquals(await listing(root), []);
}

function test(name: string, run: (folder: string, root: string) => Promise<void>): void {
  Deno.test(name, () =>
    inFolder(async (folder) => {
      await Deno.mkdir(`${folder}/root`);
      await run(folder, `${folder}/root`);
    }));
}

const filler = crypto.getRandomValues(new Uint8Array(5000));
const inside = (folder: string, ...names: string[]): Entry[] => [
  { name: `${folder}/`, type: "directory" },
  ...names.map((name) => ({ name: `${folder}/${name}`, body: filler })),
];

const archives: [name: string, entries: Entry[], dataset: Dataset, message: RegExp][] = [
  [
    "the Python version of CIFAR-100",
    inside("cifar-100-python", "file.txt~", "train", "test", "meta"),
    "cifar100",
    /is the Python version of CIFAR-100, .* name cifar-100-binary\.tar\.gz or its folder/,
  ],
  [
    "the Python version of CIFAR-10",
    inside("cifar-10-batches-py", "data_batch_4", "readme.html"),
    "cifar10",
    /is the Python version of CIFAR-10, .* name cifar-10-binary\.tar\.gz or its folder/,
  ],
  [
    "the Python version of CIFAR-10, repacked flat",
    [{ name: "batches.meta", body: "x" }, { name: "data_batch_1", body: filler }],
    "cifar10",
    /is the Python version of CIFAR-10/,
  ],
  [
    "the MATLAB version of CIFAR-100",
    inside("cifar-100-matlab", "train.mat"),
    "cifar100",
    /is the MATLAB version of CIFAR-100/,
  ],
  [
    "the MATLAB version of CIFAR-10",
    inside("./cifar-10-batches-mat", "data_batch_1.mat"),
    "cifar10",
    /is the MATLAB version of CIFAR-10/,
  ],
  [
    "CIFAR-10 for CIFAR-100",
    cifarEntries("cifar10"),
    "cifar100",
    /is the binary version of CIFAR-10, not of CIFAR-100; say --dataset cifar10/,
  ],
  [
    "CIFAR-100 for CIFAR-10",
    cifarEntries("cifar100"),
    "cifar10",
    /is the binary version of CIFAR-100, not of CIFAR-10; say --dataset cifar100/,
  ],
];

for (const [name, entries, dataset, message] of archives) {
  for (const md5 of ["none", undefined]) {
    test(`an archive of ${name} is named, ${md5 ? "un" : ""}checked`, async (folder, root) => {
      await Deno.writeFile(`${folder}/x.tar.gz`, await tarGz(entries));
      await refuses(`${folder}/x.tar.gz`, root, message, dataset, md5);
    });
  }
}

test("an archive of something else is named by what it holds", async (folder, root) => {
  await Deno.writeFile(`${folder}/x.tar.gz`, await tarGz(inside("mnist", "a\x1b[31m", "b")));
  const message = /lacks train\.bin, .* and holds a\\u\{1b\}\[31m, b; it is another archive/;
  await refuses(`${folder}/x.tar.gz`, root, message, "cifar100", "none");
});

test("another md5 is explained, each case with its way out", async (folder, root) => {
  await Deno.writeFile(`${folder}/x.tar.gz`, await tarGz(cifarEntries("cifar100")));
  const message = new RegExp(
    "another packing of the same files .* --md5 [0-9a-f]{32} or --md5 none.*" +
      "damaged or cut short .*fetch it again.* another archive .*cifar-100-binary.tar.gz",
  );
  await refuses(`${folder}/x.tar.gz`, root, message, "cifar100");
});

const text = (string: string) => new TextEncoder().encode(string);
const latin = (string: string) => Uint8Array.from(string, (letter) => letter.charCodeAt(0));
const files: [name: string, content: () => Promise<Uint8Array> | Uint8Array, message: RegExp][] = [
  ["x.zip", () => latin("PK\x03\x04rest"), /is a ZIP file/],
  [
    "x.tar",
    async () => await ungzip(await tarGz(inside("a", "b"))),
    /is a tar archive without gzip/,
  ],
  ["x.tar.bz2", () => text("BZh91AY"), /is packed with bzip2, .* pack it again with gzip/],
  ["x.tar.xz", () => latin("\xfd7zXZ\0"), /is packed with xz/],
  ["x.tar.zst", () => latin("\x28\xb5\x2f\xfd"), /is packed with zstd/],
  ["x.html", () => text("<!doctype html>"), /is an HTML page, perhaps of a download that failed/],
  ["train", () => latin("\x80\x02}q\x01"), /is a Python pickle, a file of the Python version/],
  ["train.mat", () => text("MATLAB 5.0 MAT-file, "), /is a MATLAB file/],
  ["train.parquet", () => text("PAR1"), /is a Parquet file/],
  ["x.npz", () => latin("\x93NUMPY\x01"), /is a NumPy array/],
  ["x.png", () => latin("\x89PNG\r\n"), /is a PNG picture/],
  ["empty.tar.gz", () => new Uint8Array(), /is an empty file/],
  ["x.txt", () => text("hello"), /is not a \.tar\.gz archive/],
  ["x.tar.gz.part", () => filler, /is a download that was not finished/],
  ["train.bin", () => filler, /is one file of a data set; name its folder, \//],
  ["data_batch_3.bin", () => filler, /is one file of a data set/],
  ["fine_label_names.txt", () => text("apple\n"), /is one file of a data set/],
  ["twice.gz", async () => await gzip(await tarGz(inside("a", "b"))), /is packed twice with gzip/],
  ["page.gz", async () => await gzip(filler), /is gzip of what is no tar archive/],
];
for (const [name, content, message] of files) {
  test(`${name} as --data is named for what it is`, async (folder, root) => {
    await Deno.writeFile(`${folder}/${name}`, await content());
    await refuses(`${folder}/${name}`, root, message, "cifar100");
  });
}

const folders: [name: string, paths: string[], data: string, dataset: Dataset, message: RegExp][] =
  [
    ["an empty folder", [], ".", "cifar100", /is an empty folder/],
    [
      "Python's CIFAR-100",
      ["train", "test", "meta"],
      ".",
      "cifar100",
      /is the Python version of CIFAR-100/,
    ],
    [
      "a folder above Python's",
      ["cifar-100-python/train"],
      ".",
      "cifar100",
      /is the Python version/,
    ],
    [
      "Python's folder by its name",
      ["cifar-10-batches-py/x"],
      "cifar-10-batches-py",
      "cifar10",
      /is the Python version of CIFAR-10,/,
    ],
    [
      "MATLAB's CIFAR-10",
      ["data_batch_1.mat"],
      ".",
      "cifar10",
      /is the MATLAB version of CIFAR-10/,
    ],
    [
      "a folder above CIFAR-10's",
      ["cifar-10-batches-bin/data_batch_1.bin"],
      ".",
      "cifar100",
      /is the binary version of CIFAR-10, not of CIFAR-100; say --dataset cifar10/,
    ],
    [
      "a folder too high",
      ["mine/train.bin"],
      ".",
      "cifar100",
      /is a folder too high; name .*\/mine/,
    ],
    [
      "two folders too high",
      ["a/cifar-100-binary/train.bin"],
      ".",
      "cifar100",
      /is two folders too high; name .*\/a\/cifar-100-binary/,
    ],
    ["a folder too low", ["train.bin", "sub/x"], "sub", "cifar100", /is a folder too low; name/],
    [
      "a folder of the archive",
      ["cifar-100-binary.tar.gz"],
      ".",
      "cifar100",
      /holds the archive and not its files; name .*\.tar\.gz\./,
    ],
    [
      "pictures",
      ["cat/1.png", "dog/2.png"],
      ".",
      "cifar100",
      /has none of the files of cifar100 \(train\.bin and so on\)/,
    ],
  ];
for (const [name, paths, data, dataset, message] of folders) {
  test(`${name} as --data: what it is and what is needed`, async (folder, root) => {
    for (const path of paths) {
      const [above, file] = path.includes("/") ? path.split(/\/(?=[^/]*$)/) : [".", path];
      await Deno.mkdir(`${folder}/data/${above}`, { recursive: true });
      await Deno.writeFile(`${folder}/data/${above}/${file}`, filler);
    }
    await Deno.mkdir(`${folder}/data`, { recursive: true });
    await refuses(
      data === "." ? `${folder}/data` : `${folder}/data/${data}`,
      root,
      message,
      dataset,
    );
  });
}

const isUnix = Deno.build.os !== "windows";
Deno.test({
  name: "devices are not read, alone or within a folder",
  ignore: !isUnix,
  fn: () =>
    inFolder(async (folder) => {
      const root = `${folder}/root`;
      await Deno.mkdir(root);
      await refuses("/dev/zero", root, /--data \/dev\/zero is a device/, "cifar100");
      await refuses("/dev/null", root, /is a device/, "cifar100", "none");
      for (const name of ["train.bin", "fine_label_names.txt"]) {
        const data = `${folder}/${name}-data`;
        await Deno.mkdir(data);
        await writeCifar(data, "cifar100");
        await Deno.remove(`${data}/${name}`);
        await Deno.symlink("/dev/zero", `${data}/${name}`);
        await refuses(data, root, new RegExp(`${name} is not a regular file`), "cifar100");
      }
    }),
});

async function ungzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).bytes();
}
