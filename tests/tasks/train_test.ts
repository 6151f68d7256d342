import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { type HistoryLine, readHistory } from "../../lib/checkpoint/history.ts";
import { ignoreWebgpu } from "../backends.ts";
import { inFolder, writeCifar } from "../data/fixtures.ts";
import {
  assertRefused,
  contentsOf,
  exists,
  jsonLines,
  runTask,
  runTaskWell,
  smallRun,
  taskCommand,
  withoutAdapter,
} from "./run_task.ts";

Deno.test("train leaves a run folder and prints JSON lines", () =>
  inFolder(async (folder) => {
    const out = `${folder}/deep/run`;
    const stdout = await runTaskWell("train", [...smallRun, "--out", out, "--json"]);
    const [start, epoch, end, ...rest] = jsonLines(stdout);
    assertEquals(rest, []);
    assertEquals([start.run, start.backend, start.step, start.epochs], [out, "wasm", 0, 1]);
    assertEquals(start.images, { train: 54, validation: 6, test: 60 });
    const { test } = end;
    assertEquals([end.run, end.complete, end.step, end.best.epoch], [out, true, 2, 1]);
    assertEquals(end.best.valAccuracy, epoch.valAccuracy);
    assertEquals([epoch.epoch, epoch.step], [1, 2]);
    for (const value of [epoch.loss, epoch.valLoss, test.loss]) assert(value > 3 && value < 7);
    for (const key of ["accuracy", "top5"]) assert(test[key] >= 0 && test[key] <= 1);
    assertEquals(Object.keys(await contentsOf(out)), [
      "best.safetensors",
      "config.json",
      "history.jsonl",
      "last.safetensors",
      "steps.jsonl",
      "strip.png",
      "test.json",
    ]);
    const config = JSON.parse(await Deno.readTextFile(`${out}/config.json`));
    assertEquals([config.imageSize, config.transformerLayers, config.limit], [32, 1, 60]);
    const history = await readHistory(`${out}/history.jsonl`);
    assertEquals(history.map(({ loss }) => loss), [epoch.loss]);
    assertEquals((await loadState(`${out}/last.safetensors`)).step, 2);
  }));

Deno.test("train reads CIFAR-10 from a folder, and classes follow the data", () =>
  inFolder(async (folder) => {
    await writeCifar(folder, "cifar10");
    const data = ["--dataset", "cifar10", "--data", folder, "--limit", "0"];
    const stdout = await runTaskWell("train", [...smallRun, ...data, "--out", `${folder}/run`]);
    assertStringIncludes(stdout, "Backend wasm: as demanded");
    assertStringIncludes(stdout, "Epoch 1/1");
    assert(
      /^test: loss \d+\.\d{4} {2}top-1 \d+\.\d\d % {2}top-5 \d+\.\d\d %$/m.test(stdout),
      stdout,
    );
    const config = JSON.parse(await Deno.readTextFile(`${folder}/run/config.json`));
    assertEquals(config.numClasses, 10);
  }));

Deno.test({
  name: "Ctrl-C saves and exits with 130, and --resume makes it the run that was never interrupted",
  // Windows has no signal that a parent could send.
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/interrupted`;
      const endless = [...smallRun, "--epochs", "9999", "--out", out];
      await using child = taskCommand("train", endless).spawn();
      const errors = new Response(child.stderr).text();
      let stdout = "";
      let sent = false;
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        stdout += text;
        if (sent || !/Epoch +1\/9999/.test(stdout)) continue;
        child.kill("SIGINT");
        sent = true;
      }
      const { code } = await child.status;
      assertEquals(code, 130, await errors);
      assertStringIncludes(stdout, "Stopping after this batch");
      const { step, epoch } = await loadState(`${out}/last.safetensors`);
      assertStringIncludes(
        stdout,
        `Stopped and saved at step ${step}; go on with: deno task train --resume ${out}`,
      );

      const epochs = String(epoch + 1);
      await runTaskWell("train", ["--resume", out, "--epochs", epochs, "--backend", "wasm"]);
      const straight = `${folder}/straight`;
      await runTaskWell("train", [...smallRun, "--epochs", epochs, "--out", straight]);
      const history = await readHistory(`${out}/history.jsonl`);
      assertEquals(
        withoutTimes(history),
        withoutTimes(await readHistory(`${straight}/history.jsonl`)),
      );
      assertEquals(history.length, epoch + 1);
    }),
});

/** A history without what differs from run to run. */
function withoutTimes(history: HistoryLine[]): HistoryLine[] {
  return history.map((line) => ({ ...line, seconds: 0, date: "" }));
}

/** A wrong command line and what the refusal must say. */
const refusals: Record<string, [args: string[], ...texts: string[]]> = {
  "an unknown preset": [["--preset", "tinny"], '"tinny"', 'did you mean "tiny"?'],
  "an unknown option": [["--bacth-size", "3"], "--bacth-size", "--batch-size"],
  "an option without its value": [["--seed"], "--seed"],
  "a word too many": [["tiny"], "tiny"],
  "an unknown backend": [["--backend", "cuda"], '"cuda"', "auto, webgpu, wasm, cpu"],
  "a patch that does not divide the image": [["--patch-size", "5"], "32", "5", "1, 2, 4, 8, 16"],
  "batch 0": [["--batch-size", "0"], "Option --batch-size cannot be 0: it must be from 1"],
  "a learning rate that is no number": [["--learning-rate", "fast"], "--learning-rate", '"fast"'],
  "a malformed checksum": [["--dataset", "cifar10", "--md5", "abc"], "--md5 abc"],
  "data that is not there": [["--dataset", "cifar10", "--data", "no/such"], "no/such"],
  "a configuration file that is not there": [["--config", "no.json"], "no.json"],
  "f16 without WebGPU": [["--precision", "f16", "--backend", "cpu"], "take --backend webgpu"],
};

for (const [what, [args, ...texts]] of Object.entries(refusals)) {
  Deno.test(`train refuses ${what}`, () =>
    inFolder(async (folder) => {
      const out = `${folder}/run`;
      assertRefused(await runTask("train", [...smallRun, "--out", out, ...args]), ...texts);
      assert(!await exists(out), "a run folder was left behind");
    }));
}

Deno.test("train refuses a configuration file of absurd size", () =>
  inFolder(async (folder) => {
    const file = `${folder}/config.json`;
    await Deno.writeTextFile(file, "{}");
    await Deno.truncate(file, 2 ** 40);
    assertRefused(await runTask("train", ["--config", file]), file, "1099511627776 bytes");
  }));

Deno.test("train refuses an unknown key in a configuration file", () =>
  inFolder(async (folder) => {
    const file = `${folder}/my.json`;
    await Deno.writeTextFile(file, '{ "batchsize": 3 }');
    const result = await runTask("train", [...smallRun, "--config", file]);
    assertRefused(result, file, '"batchsize"', 'did you mean "batchSize"?');
  }));

Deno.test("train refuses a folder that is in use, and changes nothing in it", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/history.jsonl`, "precious\n");
    const before = await contentsOf(folder);
    assertRefused(await runTask("train", [...smallRun, "--out", folder]), folder, "not empty");
    assertEquals(await contentsOf(folder), before);
  }));

Deno.test("train refuses to write below a file", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "precious");
    const out = `${folder}/file/run`;
    assertRefused(await runTask("train", [...smallRun, "--out", out]), out, "a file, not a folder");
    assertEquals(await Deno.readTextFile(`${folder}/file`), "precious");
  }));

Deno.test({
  name: "train refuses a folder that it may not write to",
  // The superuser may write anywhere.
  ignore: Deno.build.os === "windows" || Deno.uid() === 0,
  fn: () =>
    inFolder(async (folder) => {
      await Deno.chmod(folder, 0o500);
      const out = `${folder}/run`;
      assertRefused(await runTask("train", [...smallRun, "--out", out]), out, "no permission");
    }),
});

Deno.test({
  name: "train refuses a place that Deno keeps from it",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const result = await runTask("train", [...smallRun, "--out", "/proc/run"]);
    assertRefused(result, "/proc/run", "permission");
  },
});

Deno.test("train refuses webgpu where there is no adapter, and says what to install", () =>
  inFolder(async (folder) => {
    const args = [...smallRun, "--backend", "webgpu", "--out", `${folder}/run`];
    const result = await runTask("train", args, withoutAdapter);
    assertRefused(result, "no WebGPU adapter", "apt-get install mesa-vulkan-drivers");
    assert(!await exists(`${folder}/run`), "a run folder was left behind");
  }));

Deno.test({
  name: "train refuses a batch whose tensors the GPU cannot hold, and names the largest that fits" +
    (ignoreWebgpu ? " (ignored: this machine has no WebGPU adapter)" : ""),
  ignore: ignoreWebgpu,
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/run`;
      // Images this large take 12 MiB each, so that few of them exceed any GPU's limit.
      const huge = ["--image-size", "1024", "--patch-size", "64", "--batch-size", "9000"];
      const args = [...smallRun, ...huge, "--backend", "webgpu", "--limit", "0", "--out", out];
      const result = await runTask("train", args);
      assertRefused(result, "MiB", "this GPU's limit of", "instead of 9000 (--batch-size ");
      assert(/images|tokens|patches/.test(result.stderr), "the tensor has no name");
      assert(!await exists(out), "a run folder was left behind");
    }),
});

Deno.test("a loss that becomes NaN stops the run, names the step and keeps the best weights", () =>
  inFolder(async (folder) => {
    const out = `${folder}/run`;
    // One step an epoch: the first epoch ends well, the step after its huge update cannot.
    const oneStep = ["--batch-size", "60", "--validation-split", "0", "--epochs", "3"];
    const args = [...smallRun, ...oneStep, "--learning-rate", "1e30", "--out", out];
    const result = await runTask("train", args);
    assertRefused(result, "NaN", "step 2", "--learning-rate");
    assertEquals((await loadWeights(`${out}/best.safetensors`)).step, 1);
    assertEquals((await readHistory(`${out}/history.jsonl`)).length, 1);
  }));

Deno.test("a loss that becomes NaN before anything is saved leaves the name free", () =>
  inFolder(async (folder) => {
    const out = `${folder}/run`;
    const args = [...smallRun, "--learning-rate", "1e30", "--out", out];
    assertRefused(await runTask("train", args), "NaN", "step 2");
    assert(!await exists(out), "an empty run folder was left behind");
  }));

Deno.test("a start that is refused names no folder and leaves none", () =>
  inFolder(async (folder) => {
    const out = `${folder}/run`;
    const result = await runTask("train", [...smallRun, "--num-classes", "5", "--out", out]);
    assertRefused(result, "numClasses 5 is less than the 100 classes of shapes");
    assert(!result.stdout.includes("Run folder"), result.stdout);
    assert(!await exists(out), "a run folder was left behind");
  }));

Deno.test("one image: no rate from no timed step, and it is said that nothing is validated", () =>
  inFolder(async (folder) => {
    const args = [...smallRun, "--limit", "1", "--out", `${folder}/run`];
    const stdout = await runTaskWell("train", args);
    assertStringIncludes(stdout, "Training on 1 image and validating on none");
    assertStringIncludes(stdout, "Best epoch: 1 of 1 (the newest, as no images are held out)");
    assert(!/img\/s|ms\/step|eta/.test(stdout), stdout);
  }));

Deno.test("a folder that is taken away while training does not hide the first error", () =>
  inFolder(async (folder) => {
    const out = `${folder}/run`;
    const endless = [...smallRun, "--epochs", "9999", "--out", out];
    await using child = taskCommand("train", endless).spawn();
    const errors = new Response(child.stderr).text();
    let stdout = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const isFirst = !stdout.includes("Epoch") && text.includes("Epoch");
      stdout += text;
      if (isFirst) await Deno.remove(out, { recursive: true });
    }
    const { code } = await child.status;
    assertRefused({ code, stdout, stderr: await errors }, out);
  }));

Deno.test("--resume refuses a folder without a run", () =>
  inFolder(async (folder) => {
    assertRefused(await runTask("train", ["--resume", folder]), folder, "no config.json");
  }));
