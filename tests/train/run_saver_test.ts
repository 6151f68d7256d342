/** Saving, going on, and what goes wrong in between. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { lockRun } from "../../lib/checkpoint/lock.ts";
import { createRunFolder, openRunFolder, runFolder } from "../../lib/checkpoint/run_folder.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { currentGpu } from "../../lib/backend/device.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { UserError } from "../../lib/errors.ts";
import { webgpuBackend } from "../../lib/backend/compute.ts";
import { type RunOptions } from "../../lib/train/run.ts";
import { forEachBackend } from "../backends.ts";
import { equals, inFolder, names } from "../checkpoint/folder.ts";
import { exists } from "../tasks/run_task.ts";
import { goOn, on, stillClock, stopAt, tinyRun, train } from "./tiny_run.ts";

const finalFiles = ["best.safetensors", "config.json", "history.jsonl", "last.safetensors"];
const step = (n: number) => `step-${String(n).padStart(8, "0")}.safetensors`;

forEachBackend(
  "saves every so many steps, keeps what it is told, and changes nothing",
  async () => {
    await inFolder(async (folder) => {
      const saved: number[] = [];
      const saving = await train(`${folder}/a`, tinyRun, {
        save: { every: { steps: 1 }, keep: 3 },
        ...on({ save: ({ step }) => saved.push(step) }),
      });
      // Where a step is faster than the disk, a save may come a step late.
      assertEquals(saved.at(-1), 6);
      assert(saved.length > 2, `${saved}`);
      const kept = [...new Set(saved)].slice(-3, -1).map(step);
      assertEquals(await names(`${folder}/a`), [...finalFiles, ...kept].sort());
      const plain = await train(`${folder}/b`, tinyRun, { save: { keep: 1 } });
      assertEquals(await names(`${folder}/b`), finalFiles);
      for (const file of finalFiles) {
        assertEquals(
          await Deno.readFile(`${folder}/a/${file}`),
          await Deno.readFile(`${folder}/b/${file}`),
          file,
        );
      }
      assertEquals(saving.result, plain.result);
    });
  },
);

forEachBackend("a run is saved by the clock it is given", async () => {
  await inFolder(async (folder) => {
    let time = 0;
    const saved: number[] = [];
    await train(`${folder}/run`, { ...tinyRun, epochs: 1 }, {
      save: { every: { minutes: 1 } },
      clock: { ...stillClock, now: () => time },
      ...on({
        // Due after the second step alone, and then not again: the clock goes back.
        step: ({ step }) => time = step === 1 ? 60_000 : -1e9,
        save: ({ step }) => saved.push(step),
      }),
    });
    assertEquals(saved, [2, 3]);
  });
}, { backends: ["cpu"] });

forEachBackend(
  "an epoch that ends before a save has begun to write is left to the next",
  async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/run`;
      const config = { ...tinyRun, validationSplit: 0 };
      const run = await createRunFolder(path, config);
      await using lock = await lockRun(path);
      // As on a network disk: the second epoch takes less.
      const check = async () => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await lock.check();
      };
      await train(path, config, { folder: run, lock: { ...lock, check } });
      const [best, last] = [await loadWeights(run.best), await loadState(run.last)];
      assertEquals([best.epoch, best.weights], [2, last.weights as typeof best.weights]);
    });
  },
  { backends: ["cpu"] },
);

forEachBackend("every state on disk is one to go on from, to the same run", async () => {
  await inFolder(async (folder) => {
    const straight = await train(`${folder}/straight`, tinyRun);
    const whole = await Deno.readFile(straight.folder.last);
    await train(`${folder}/run`, tinyRun, {
      save: { every: { steps: 1 }, keep: 9 },
      ...stopAt(5),
    });
    const states = (await names(`${folder}/run`)).filter((name) => /^(last|step-)/.test(name));
    assert(states.length > 2, `${states}`);
    for (const name of states) {
      const copy = `${folder}/${name}`;
      await Deno.mkdir(copy);
      for (const file of ["config.json", "history.jsonl", "best.safetensors"]) {
        await Deno.copyFile(`${folder}/run/${file}`, `${copy}/${file}`);
      }
      await Deno.copyFile(`${folder}/run/${name}`, `${copy}/last.safetensors`);
      const { notices } = await goOn(copy);
      assertEquals(notices, []);
      assertEquals(await Deno.readFile(`${copy}/last.safetensors`), whole, name);
    }
  });
}, { backends: ["wasm", "cpu"] });

forEachBackend(
  "a damaged state is passed over, which is told, and the run is the same",
  async () => {
    await inFolder(async (folder) => {
      const straight = await train(`${folder}/straight`, tinyRun);
      const stopped = await train(`${folder}/run`, tinyRun, {
        save: { every: { steps: 1 } },
        ...stopAt(5),
      });
      const bytes = await Deno.readFile(stopped.folder.last);
      bytes[bytes.length >> 1]! ^= 4;
      await Deno.writeFile(stopped.folder.last, bytes);
      // And what a kill in the middle of a save and of a line of the history leaves.
      await Deno.writeFile(`${folder}/run/.last.safetensors.tmp-1-1`, bytes.subarray(0, 99));
      await Deno.writeTextFile(stopped.folder.history, '{"epoch":2,"st', { append: true });
      const { state, notices } = await goOn(`${folder}/run`);
      assert(state!.step < 5);
      assertEquals(notices.length, 2);
      assert(notices[0]!.includes("last.safetensors is damaged: tensor"), notices[0]);
      assert(notices[1]!.includes(`${step(state!.step)}, step ${state!.step}.`), notices[1]);
      assertEquals(
        await Deno.readFile(stopped.folder.last),
        await Deno.readFile(straight.folder.last),
      );
      assertEquals(
        await readHistory(stopped.folder.history),
        await readHistory(straight.folder.history),
      );
      assert(!(await names(`${folder}/run`)).some((name) => name.startsWith(".")));
    });
  },
  { backends: ["wasm"] },
);

forEachBackend("a run killed before its first save starts again, and is the same run", async () => {
  await inFolder(async (folder) => {
    const straight = await train(`${folder}/straight`, tinyRun);
    const { path } = await createRunFolder(`${folder}/run`, tinyRun);
    await Deno.copyFile(straight.folder.best, `${path}/best.safetensors`);
    const line = (await Deno.readTextFile(straight.folder.history)).split("\n")[0]!;
    await Deno.writeTextFile(`${path}/history.jsonl`, `${line}\n`);
    const again = await goOn(path);
    assertEquals(again.notices.length, 1);
    assert(again.notices[0]!.includes("starts again from its beginning"), again.notices[0]);
    assertEquals(again.history, straight.history);
    assertEquals(await Deno.readFile(again.folder.last), await Deno.readFile(straight.folder.last));
    // Lost states of a run that was further are another matter.
    for (const name of ["last.safetensors", step(3)]) await Deno.remove(`${path}/${name}`);
    await assertRejects(() => goOn(path), UserError, "--init-from");
    await using _ = await lockRun(path);
  });
}, { backends: ["cpu"] });

forEachBackend("two trainers: the second is refused, the first goes on", async () => {
  await inFolder(async (folder) => {
    let refusal = "";
    const asked: Promise<unknown>[] = [];
    const { result } = await train(
      `${folder}/run`,
      tinyRun,
      on({
        step: ({ step }) => {
          if (step !== 2) return;
          asked.push(goOn(`${folder}/run`).catch((error) => refusal = (error as Error).message));
        },
      }),
    );
    await Promise.all(asked);
    assert(result.complete);
    assert(refusal.startsWith(`The run ${folder}/run is being trained by process ${Deno.pid} (`));
    assertEquals(await names(`${folder}/run`), [...finalFiles, step(3)]);
  });
}, { backends: ["cpu"] });

forEachBackend("epochs that were changed are in config.json from then on", async () => {
  await inFolder(async (folder) => {
    await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    await goOn(`${folder}/run`, tinyRun, stopAt(4));
    assertEquals((await openRunFolder(`${folder}/run`)).config, tinyRun);
    const { result } = await goOn(`${folder}/run`);
    assertEquals([result.complete, result.step], [true, 6]);
  });
}, { backends: ["cpu"] });

forEachBackend("before an error ends a run, its state is saved where it is good", async () => {
  await inFolder(async (folder) => {
    const straight = await train(`${folder}/straight`, tinyRun);
    const breaks = (): never => {
      throw new Error("it broke");
    };
    let [batches, questions] = [0, -Infinity];
    const broken: Record<string, [at: number[], options: Partial<RunOptions>]> = {
      "in validation": [[3, 50], on({ validation: () => ++batches === 1 && breaks() })],
      "after a step": [[5, 40], on({ step: ({ step }) => step === 5 && breaks() })],
      "between two reads": [[5, 40], {
        readInterval: Infinity,
        ...on({ epoch: () => questions = 0 }),
        // Asked before each step and after it, twice.
        signal: {
          get aborted(): boolean {
            return ++questions === 6 && breaks();
          },
          throwIfAborted() {},
        } as AbortSignal,
      }],
    };
    for (const [where, [at, options]] of Object.entries(broken)) {
      const path = `${folder}/${where}`;
      await assertRejects(() => train(path, tinyRun, options), Error, "it broke");
      const { state, folder: run } = await goOn(path);
      assertEquals([state!.step, state!.sums.images], at, where);
      assertEquals(await Deno.readFile(run.last), await Deno.readFile(straight.folder.last), where);
    }
  });
}, { backends: ["wasm"] });

forEachBackend(
  "a save that fails ends the run in a sentence, and the states before it stay",
  async () => {
    await inFolder(async (folder) => {
      const first = await train(`${folder}/run`, tinyRun, stopAt(2));
      const before = await Deno.readFile(first.folder.last);
      const failing = goOn(`${folder}/run`, undefined, {
        // A folder in the file's place: nothing can take its name.
        ...on({
          step: ({ step }) => {
            if (step !== 3) return;
            Deno.renameSync(first.folder.last, `${folder}/aside`);
            Deno.mkdirSync(`${first.folder.last}/inner`, { recursive: true });
          },
        }),
      });
      const { message } = await assertRejects(() => failing, UserError);
      assert(message.includes("last.safetensors"), message);
      await Deno.remove(first.folder.last, { recursive: true });
      assertEquals(await Deno.readFile(`${folder}/aside`), before);
      assert(!(await names(`${folder}/run`)).includes("lock.json"));
    });
  },
  { backends: ["cpu"] },
);

forEachBackend(
  "a lost device leaves the saved state as it was, and the run goes on from it",
  async () => {
    await inFolder(async (folder) => {
      const straight = await train(`${folder}/straight`, tinyRun);
      await train(`${folder}/run`, tinyRun, stopAt(2));
      const losing = goOn(`${folder}/run`, undefined, {
        ...on({ step: ({ step }) => step === 4 && webgpuBackend().device.destroy() }),
      });
      const { message } = await assertRejects(() => losing, UserError);
      assert(/^The GPU device was lost .* --resume\.$/.test(message), message);
      assertEquals((await loadState(`${folder}/run/last.safetensors`)).step, 3);
      await selectBackend("webgpu");
      assert(!currentGpu()!.lost);
      const { folder: run } = await goOn(`${folder}/run`);
      assertEquals(await Deno.readFile(run.last), await Deno.readFile(straight.folder.last));
    });
  },
  { backends: ["webgpu"], allowTensorLeak: true },
);

/** Lets the n-th file that takes the name `path` fail as on a full disk; undone by `using`. */
function failingRename(path: string, n: number): Disposable {
  const { rename } = Deno;
  Deno.rename = (from, to) => {
    if (to === path && --n === 0) {
      return Promise.reject(new Error("No space left on device (os error 28)"));
    }
    return rename(from, to);
  };
  return { [Symbol.dispose]: () => void (Deno.rename = rename) };
}

forEachBackend("whichever write fails, best, last and the history agree", async () => {
  await inFolder(async (folder) => {
    const config = { ...tinyRun, epochs: 5 };
    const save = { every: { steps: 1 } };
    const straight = await train(`${folder}/straight`, config, { save });
    let failures = 0;
    for (const file of ["best", "last"] as const) {
      for (let n = 1;; n++) {
        const path = `${folder}/${file}-${n}`;
        const run = runFolder(path);
        let error: unknown;
        {
          using _ = failingRename(run[file], n);
          await train(path, config, { save }).catch((thrown) => error = thrown);
        }
        if (error === undefined) break;
        failures++;
        assert(error instanceof UserError && error.message.includes("disk is full"), `${error}`);
        if (await exists(run.last)) {
          // What the state claims is there.
          const last = await loadState(run.last);
          const lines = (await readHistory(run.history)).filter(({ epoch }) => epoch <= last.epoch);
          assertEquals(lines.map(({ epoch }) => epoch), [1, 2, 3, 4, 5].slice(0, last.epoch));
          if (last.bestValAccuracy >= 0) {
            assert((await loadWeights(run.best)).bestValAccuracy >= last.bestValAccuracy);
          }
        }
        const { result } = await goOn(path);
        assertEquals(result, straight.result);
        for (const name of ["best", "last", "history"] as const) {
          const [made, expected] = await Promise.all([run, straight.folder].map((each) => {
            return Deno.readFile(each[name]);
          }));
          assert(equals(made!, expected!), `${name} after write ${n} of ${file} failed`);
        }
      }
    }
    assert(failures >= 5, `only ${failures} writes failed`);
  });
}, { backends: ["wasm"] });
