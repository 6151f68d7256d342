/** `train --resume`, `--init-from` and what keeps a run safe, as a user types them. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { loadState } from "../../lib/checkpoint/state.ts";
import { loadNewestState } from "../../lib/checkpoint/states.ts";
import { inFolder } from "../data/fixtures.ts";
import {
  assertRefused,
  contentsOf,
  exists,
  jsonLines,
  projectRoot,
  runTask,
  runTaskWell,
  smallRun,
  taskCommand,
} from "./run_task.ts";

/** The train task without `deno task`, in a folder of its own. */
function trainer(args: readonly string[], cwd: string): Deno.Command {
  return new Deno.Command("deno", {
    args: [
      ...["run", "--allow-read", "--allow-write", `--config=${projectRoot}deno.json`],
      ...[`${projectRoot}tasks/train.ts`, ...args],
    ],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs until `text` is printed, then ends by the signal. */
async function interrupted(
  args: readonly string[],
  text: string,
  signal: Deno.Signal,
): Promise<{ code: number; stdout: string }> {
  await using child = taskCommand("train", args).spawn();
  const errors = new Response(child.stderr).text();
  let stdout = "";
  let sent = false;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += part;
    if (sent || !stdout.includes(text)) continue;
    child.kill(signal);
    sent = true;
  }
  const { code } = await child.status;
  assert(sent, await errors);
  return { code, stdout };
}

Deno.test({
  name:
    "SIGTERM saves and exits with 143; --resume auto finds the run, passes over damage and says so",
  // Windows has no signal that a parent could send.
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/runs/a`;
      const endless = [...smallRun, "--epochs", "9999", "--save-every", "1", "--keep", "3"];
      const { code, stdout } = await interrupted(
        [...endless, "--out", out],
        "Epoch    2/9999",
        "SIGTERM",
      );
      assertEquals(code, 143, stdout);
      assertStringIncludes(stdout, "Stopped and saved at step");
      const { step } = await loadState(`${out}/last.safetensors`);
      const earlier = Object.keys(await contentsOf(out)).filter((name) => name.startsWith("step-"));
      assertEquals(earlier.length, 2);
      assert(!await exists(`${out}/lock.json`));

      await Deno.truncate(`${out}/last.safetensors`, 1000);
      const epochs = `${Math.ceil((step + 1) / 2)}`;
      const auto = trainer(
        ["--resume", "auto", "--epochs", epochs],
        folder,
      );
      const result = await auto.output();
      const text = new TextDecoder().decode(result.stdout);
      assertEquals(result.code, 0, text + new TextDecoder().decode(result.stderr));
      assertStringIncludes(text, "runs/a/last.safetensors is not a valid safetensors file");
      assert(
        /Going on from the state before it, runs\/a\/step-\d{8}\.safetensors, step \d+\./.test(
          text,
        ),
      );
      assertStringIncludes(text, "Going on with runs/a, step ");
      // Whatever auto would take for a new run.
      assertStringIncludes(text, "Backend wasm: as before");
      assert(/^test: loss/m.test(text), text);
      const history = await readHistory(`${out}/history.jsonl`);
      assertEquals(history.map(({ epoch }) => epoch), history.map((_, i) => i + 1));
    }),
});

Deno.test({
  name:
    "a second trainer on a run is refused while the first trains, and takes over once it is dead",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/run`;
      const endless = [...smallRun, "--epochs", "9999", "--out", out];
      // Not through deno task, which is a process of its own between this one and the trainer.
      await using first = trainer(endless, folder).spawn();
      const errors = new Response(first.stderr).text();
      let hasAsked = false;
      let printed = "";
      for await (const part of first.stdout.pipeThrough(new TextDecoderStream())) {
        printed += part;
        // By then the first epoch's state is saved.
        if (hasAsked || !printed.includes("Epoch    3/9999")) continue;
        hasAsked = true;
        const second = await runTask("train", ["--resume", out, "--backend", "wasm"]);
        assertRefused(second, `The run ${out} is being trained by process ${first.pid} (since `);
        first.kill("SIGKILL");
      }
      await first.status;
      assert(hasAsked, await errors);
      assert(await exists(`${out}/lock.json`));
      // It may have died within a save, when the newest state has no other name yet.
      const { run } = await openRunFolder(out);
      const { epoch } = (await loadNewestState(run))!.state;
      const args = ["--resume", out, "--epochs", `${epoch + 1}`, "--backend", "wasm"];
      const stdout = await runTaskWell("train", args);
      assertStringIncludes(stdout, `Process ${first.pid} ended without giving ${out} back`);
      assert(!await exists(`${out}/lock.json`));
    }),
});

Deno.test("--init-from takes the model from the run, and a new head where classes differ", () =>
  inFolder(async (folder) => {
    await runTaskWell("train", [...smallRun, "--out", `${folder}/a`]);
    const stdout = await runTaskWell("train", [
      ...["--init-from", `${folder}/a`, "--num-classes", "120", "--seed", "2"],
      ...["--dataset", "shapes", "--limit", "60", "--batch-size", "32", "--epochs", "1"],
      ...["--learning-rate", "1e-4", "--backend", "wasm", "--out", `${folder}/b`],
    ]);
    assertStringIncludes(stdout, "one of 100 classes, this run's has 120");
    const source = `${folder}/a/best.safetensors`;
    const rest = "all else from the preset keras-cifar100 and this command line: shapes, " +
      "batches of 32, 1 epoch.";
    assertStringIncludes(stdout, `Weights and model from ${source}; ${rest}`);
    const { config } = await loadState(`${folder}/b/last.safetensors`);
    assertEquals([config.transformerLayers, config.limit, config.seed], [1, 60, 2]);
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/b/origin.json`)), {
      initFrom: `${folder}/a/best.safetensors`,
    });
    const other = await runTask("train", [
      ...["--init-from", `${folder}/a`, "--transformer-layers", "2", "--out", `${folder}/c`],
    ]);
    assertRefused(other, "transformerLayers is 1, this run's is 2");
    assert(!await exists(`${folder}/c`), "a run folder was left behind");
    // What may not change on resume is refused by name, and nothing happens to the run.
    const before = await contentsOf(`${folder}/a`);
    const changes = { "batch-size": "16", "seed": "3", "limit": "50", "projection-dim": "32" };
    for (const [name, value] of Object.entries(changes)) {
      const units = name === "projection-dim" ? ["--transformer-units", "32"] : [];
      const args = ["--resume", `${folder}/a`, `--${name}`, value, ...units, "--backend", "wasm"];
      assertRefused(await runTask("train", args), "another configuration", `is ${value}`);
    }
    assertEquals(await contentsOf(`${folder}/a`), before);
  }));

Deno.test("--init-from gives the same run from a run's folder and from an exported file", () =>
  inFolder(async (folder) => {
    const changes = ["--attention-dropout", "0.3", "--learning-rate", "2e-3"];
    await runTaskWell("train", [...smallRun, ...changes, "--out", `${folder}/a`]);
    const plain = `${folder}/plain.safetensors`;
    await runTaskWell("export", [`${folder}/a`, "--format", "safetensors", "--out", plain]);
    const few = ["--dataset", "shapes", "--limit", "60", "--epochs", "1", "--backend", "wasm"];
    const configs: Record<string, unknown>[] = [];
    for (const [i, from] of [`${folder}/a`, plain].entries()) {
      const out = `${folder}/${i}`;
      const stdout = await runTaskWell("train", [...few, "--init-from", from, "--out", out]);
      // The same classes: the head stays.
      assert(!stdout.includes("random weights"), stdout);
      configs.push(JSON.parse(await Deno.readTextFile(`${out}/config.json`)));
    }
    const [config, other] = configs;
    assertEquals(config, other);
    // Of the model; and of the preset.
    assertEquals([config!.transformerLayers, config!.attentionDropout], [1, 0.3]);
    assertEquals([config!.learningRate, config!.batchSize], [1e-3, 256]);
  }));

Deno.test("--resume of a run that has done all: nothing is trained, and fewer epochs change nothing", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const printed = await runTaskWell("train", [...smallRun, "--epochs", "2", "--out", run]);
    const before = await contentsOf(run);
    const fewer = await runTaskWell("train", ["--resume", run, "--epochs", "1"]);
    assertStringIncludes(fewer, `There is nothing to do: ${run} has done 2 epochs`);
    assertStringIncludes(fewer, `deno task eval ${run}`);
    assert(!fewer.includes("test: loss"), fewer);
    assertEquals(await contentsOf(run), before);
    const [object, ...rest] = jsonLines(
      await runTaskWell("train", ["--resume", run, "--epochs", "1", "--json"]),
    );
    assertEquals([object, rest], [{ run, complete: true, step: 4, epochs: 2 }, []]);

    const same = await runTaskWell("train", ["--resume", run, "--no-report"]);
    assertStringIncludes(same, `${run} is complete, with 2 epochs.`);
    const end = (text: string) => text.split("\n").filter((line) => /^(Best|test:)/.test(line));
    assertEquals(end(same), end(printed));
    assertEquals(end(same).length, 2);
    assert(!same.includes("Epoch 1/"), same);
    assertEquals(await contentsOf(run), before);
  }));

Deno.test("--resume takes a file of the run for the run, but no older state", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    await runTaskWell("train", [...smallRun, "--out", run]);
    for (const name of ["config.json", "last.safetensors"]) {
      const { stdout } = await trainer(["--resume", `${run}/${name}`], folder).output();
      assertStringIncludes(new TextDecoder().decode(stdout), `${run} is complete, with 1 epoch.`);
    }
    const best = `${run}/best.safetensors`;
    const refused = await runTask("train", ["--resume", best]);
    assertRefused(refused, best, `--resume ${run}`, `--init-from ${best}`);
  }));

/** A wrong command line and what the refusal must say. */
const refusals: Record<string, [args: string[], ...texts: string[]]> = {
  "an interval that is none": [["--save-every", "soon"], "--save-every", '"soon"', "10m"],
  "to keep no state": [["--keep", "0"], "--keep", '"0"'],
  "an unknown word for --on-nan": [["--on-nan", "panic"], "--on-nan", '"panic"', "stop or skip"],
  "another schedule of nothing": [["--reschedule"], "--reschedule is for --resume only"],
  "to resume and to begin": [["--resume", "x", "--init-from", "y"], "--init-from y", "--resume"],
  "weights that are not there": [["--init-from", "no/such"], "no/such"],
  "weights of another kind": [["--init-from", "README.md"], "README.md"],
};

for (const [what, [args, ...texts]] of Object.entries(refusals)) {
  Deno.test(`train refuses ${what}`, async () => {
    assertRefused(await runTask("train", args), ...texts);
  });
}
