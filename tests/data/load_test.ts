import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { createHash } from "node:crypto";
import { channelStatistics } from "../../lib/data/dataset.ts";
import { loadDataset, type LoadOptions } from "../../lib/data/load.ts";
import type { DataProgress } from "../../lib/data/progress.ts";
import { UserError } from "../../lib/errors.ts";
import {
  cifarEntries,
  inFolder,
  listing,
  records,
  serveBytes,
  tarGz,
  withServer,
  writeCifar,
} from "./fixtures.ts";

const archiveBytes = await tarGz(cifarEntries("cifar100"));
const md5 = createHash("md5").update(archiveBytes).digest("hex");
const unpackedName = `cifar-100-binary-${md5.slice(0, 12)}`;
const base = { dataset: "cifar100", labels: "fine" } as const;

/** Gives a test an empty root and an archive beside it. */
function withArchive(test: (archive: string, root: string) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    await Deno.writeFile(`${folder}/x.tar.gz`, archiveBytes);
    await test(`${folder}/x.tar.gz`, `${folder}/root`);
  });
}

function stagesOf(events: DataProgress[]): string[] {
  return events.map(({ stage }) => stage).filter((stage, i, all) => stage !== all[i - 1]);
}

Deno.test("an archive is checked, unpacked into root, and only once", () =>
  withArchive(async (data, root) => {
    const events: DataProgress[] = [];
    const options = { ...base, data, md5, root, onProgress: (e: DataProgress) => events.push(e) };
    const first = await loadDataset(options);
    assertEquals([first.train.count, first.test.count], [3, 2]);
    assertEquals(stagesOf(events), ["verify", "unpack", "read"]);
    assertEquals(await listing(root), [unpackedName]);
    events.length = 0;
    assertEquals((await loadDataset(options)).identity, first.identity);
    assertEquals(stagesOf(events), ["verify", "read"]);
    const { source, done, total } = events.at(-1)!;
    assertEquals([source, done], [`${root}/${unpackedName}`, total]);
  }));

Deno.test("what was unpacked is found without --data", () =>
  withArchive(async (data, root) => {
    const { identity } = await loadDataset({ ...base, data, md5: "none", root });
    assertEquals((await loadDataset({ ...base, root })).identity, identity);
  }));

Deno.test("an archive that is not the official one is refused, with both ways out", () =>
  withArchive(async (data, root) => {
    const error = await assertRejects(
      () => loadDataset({ ...base, data, root }),
      UserError,
      `has md5 ${md5}, not 03b5dce01913d631647c71ecec9e9cb8`,
    );
    assertStringIncludes(error.message, `--md5 ${md5}`);
    assertStringIncludes(error.message, "--md5 none");
  }));

Deno.test("a folder is read where it is, also from the folder above", () =>
  inFolder(async (folder) => {
    const inner = `${folder}/above/cifar-100-binary`;
    await Deno.mkdir(inner, { recursive: true });
    await writeCifar(inner, "cifar100");
    const root = `${folder}/root`;
    assertEquals((await loadDataset({ ...base, data: inner, root })).train.count, 3);
    assertEquals((await loadDataset({ ...base, data: `${folder}/above`, root })).train.count, 3);
    assertEquals(await listing(folder), ["above"]);
  }));

Deno.test("a folder of the official name in root comes before others", () =>
  withArchive(async (data, root) => {
    await loadDataset({ ...base, data, md5, root });
    await Deno.mkdir(`${root}/cifar-100-binary`);
    await writeCifar(`${root}/cifar-100-binary`, "cifar100");
    await Deno.writeFile(`${root}/cifar-100-binary/train.bin`, records(7, 2));
    assertEquals((await loadDataset({ ...base, root })).train.count, 7);
  }));

Deno.test("several unofficial copies need a choice", () =>
  inFolder(async (root) => {
    for (const key of ["000000000000", "111111111111"]) {
      await Deno.mkdir(`${root}/cifar-100-binary-${key}`);
    }
    await assertRejects(() => loadDataset({ ...base, root }), UserError, "choose one with --data");
  }));

Deno.test("missing data is downloaded, unpacked, and the archive removed", () =>
  inFolder((root) =>
    withServer((request) => serveBytes(request, archiveBytes), async (url) => {
      const events: DataProgress[] = [];
      const options: LoadOptions = {
        ...base,
        md5,
        root,
        download: { url },
        onProgress: (event) => events.push(event),
      };
      assertEquals((await loadDataset(options)).train.count, 3);
      assertEquals(stagesOf(events), ["download", "unpack", "read"]);
      assertEquals(await listing(root), [unpackedName]);
    })
  ));

Deno.test("a URL is downloaded once", () =>
  inFolder(async (root) => {
    let requests = 0;
    await withServer((request) => (requests++, serveBytes(request, archiveBytes)), async (url) => {
      for (let run = 0; run < 2; run++) {
        const { test } = await loadDataset({ ...base, data: `${url}x.tar.gz`, md5: "none", root });
        assertEquals(test.count, 2);
      }
    });
    assertEquals(requests, 1);
  }));

Deno.test("a download with a wrong md5 is refused and nothing is unpacked", () =>
  inFolder((root) =>
    withServer((request) => serveBytes(request, archiveBytes), async (url) => {
      const error = await assertRejects(
        () => loadDataset({ ...base, root, download: { url } }),
        UserError,
        md5,
      );
      assertStringIncludes(error.message, "03b5dce01913d631647c71ecec9e9cb8");
      assertEquals(await listing(root), ["cifar-100-binary-03b5dce01913.tar.gz.wrong-md5"]);
    })
  ));

Deno.test("a URL of another archive is named without its secrets", () =>
  inFolder(async (root) => {
    const python = await tarGz([{ name: "cifar-100-python/", type: "directory" }]);
    await withServer((request) => serveBytes(request, python), async (url) => {
      const { host } = new URL(url);
      for (const sum of [undefined, "none"]) {
        const sources: string[] = [];
        const error = await assertRejects(
          () =>
            loadDataset({
              ...base,
              root,
              md5: sum,
              data: `http://me:secret@${host}/x.tar.gz?key=hidden`,
              onProgress: ({ source }) => sources.push(source),
            }),
          UserError,
          "is the Python version of CIFAR-100",
        );
        assertStringIncludes(error.message, `http://${host}/x.tar.gz`);
        assert(!/secret|me:|hidden/.test(error.message + sources), error.message);
      }
    });
  }));

Deno.test("an unchecked download that is cut short is fetched anew next time", () =>
  inFolder(async (root) => {
    let served = archiveBytes.slice(0, -100);
    await withServer((request) => serveBytes(request, served), async (url) => {
      const options = { ...base, data: url, md5: "none", root };
      await assertRejects(() => loadDataset(options), UserError, "is cut short");
      assertEquals(await listing(root), []);
      served = archiveBytes;
      assertEquals((await loadDataset(options)).train.count, 3);
    });
  }));

Deno.test("an archive with a malformed record file does not come into place", () =>
  inFolder(async (folder) => {
    const entries = cifarEntries("cifar100").map((entry) =>
      entry.name.endsWith("test.bin") ? { ...entry, body: new Uint8Array(3000) } : entry
    );
    await Deno.writeFile(`${folder}/x.tar.gz`, await tarGz(entries));
    const root = `${folder}/root`;
    await assertRejects(
      () => loadDataset({ ...base, data: `${folder}/x.tar.gz`, md5: "none", root }),
      UserError,
      `${folder}/x.tar.gz/test.bin has 3000 bytes`,
    );
    assertEquals(await listing(root), []);
  }));

Deno.test("CIFAR-10 goes the same way", () =>
  inFolder(async (folder) => {
    const data = `${folder}/y.tar.gz`;
    await Deno.writeFile(data, await tarGz(cifarEntries("cifar10")));
    const root = `${folder}/root`;
    const options = { dataset: "cifar10", labels: "fine", data, md5: "none", root } as const;
    const { train, name } = await loadDataset(options);
    assertEquals([train.count, name], [15, "cifar10"]);
  }));

Deno.test("a root that cannot be written to is named", () =>
  withArchive(async (data) => {
    // A path below a regular file stops root too.
    await assertRejects(
      () => loadDataset({ ...base, data, md5, root: `${data}/below` }),
      UserError,
      `Cannot write ${data}/below`,
    );
  }));

Deno.test("without a network the message names the URL and --data", () =>
  inFolder(async (root) => {
    const url = "http://127.0.0.1:1/cifar.tar.gz";
    const error = await assertRejects(
      () => loadDataset({ ...base, root, download: { url, attempts: 1 } }),
      UserError,
      url,
    );
    assertStringIncludes(error.message, "--data");
  }));

const wrong: [string, Partial<LoadOptions>, string][] = [
  ["data that does not exist", { data: "/no/such" }, "--data /no/such does not exist"],
  ["an md5 that is none", { md5: "12" }, "--md5 12 is neither"],
  ["an md5 for a folder", { data: ".", md5 }, "is a folder"],
  ["a malformed URL with a password", { data: "http://me:se/cret@:x/" }, "--data http://:x/ is"],
  ["a URL of a file", { data: "file:///x.tar.gz" }, "is neither an http: nor an https: URL"],
  ["a URL of FTP", { data: "ftp://me:x@h/x" }, "--data ftp://h/x is neither"],
  ["a malformed URL", { data: "http://" }, "is not a valid URL"],
  ["coarse labels of CIFAR-10", { dataset: "cifar10", labels: "coarse" }, "no coarse labels"],
  ["coarse labels of shapes", { dataset: "shapes", labels: "coarse" }, "no coarse labels"],
  ["data for shapes", { dataset: "shapes", data: "x" }, "is generated"],
];
for (const [name, options, message] of wrong) {
  Deno.test(`${name} is refused`, () =>
    inFolder(async (root) => {
      await assertRejects(() => loadDataset({ ...base, root, ...options }), UserError, message);
    }));
}

Deno.test("shapes needs no file", () =>
  inFolder(async (root) => {
    const { classNames, train } = await loadDataset({ ...base, dataset: "shapes", root });
    assertEquals([classNames.length, train.count], [100, 10_000]);
    assertEquals(await listing(root), []);
  }));

const realArchive = new URL("../../../shared/data/cifar-100-binary.tar.gz", import.meta.url);
const hasReal = await Deno.stat(realArchive).then(() => true, () => false);

Deno.test({
  name: "real CIFAR-100: counts, balance and the known channel means" +
    (hasReal ? "" : " (ignored: the archive is not on this machine)"),
  ignore: !hasReal,
  fn: () =>
    inFolder(async (root) => {
      const { train, test, classNames } = await loadDataset({
        ...base,
        data: fromFileUrl(realArchive),
        md5: "4d7cb9f1e9dd6a04ac385a4b3f6874c7",
        root,
      });
      assertEquals([train.count, test.count], [50_000, 10_000]);
      const counts = new Array(100).fill(0);
      for (const label of train.labels) counts[label]++;
      assertEquals(counts, new Array(100).fill(500));
      assertEquals(classNames[0], "apple");
      const means = channelStatistics(train, 3).mean.map((value) => (value / 255).toFixed(5));
      assertEquals(means, ["0.50708", "0.48655", "0.44092"]);
    }),
});
