import { assert, assertEquals, assertRejects, equal } from "@std/assert";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { savePlainWeights } from "../../lib/export/portable_model.ts";
import { loadInitialWeights } from "../../lib/train/initial_weights.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder, names } from "../checkpoint/folder.ts";
import { goOn, on, shapes, tinyRun, train } from "./tiny_run.ts";

forEachBackend("init-from: weights of a run, a checkpoint or an exported file", async () => {
  await inFolder(async (folder) => {
    const old = await train(`${folder}/old`, tinyRun);
    const best = await loadWeights(old.folder.best);
    const { weights, classNames, preprocessing } = best;
    const model = modelConfigOf(tinyRun);
    const plain = `${folder}/plain.safetensors`;
    await savePlainWeights(plain, { config: model, weights, classNames, preprocessing });
    // No step is taken, so what is saved is what it began with.
    const stop = new AbortController();
    stop.abort();
    const config = { ...tinyRun, seed: 8, learningRate: 1e-4, attentionDropout: 0 };
    for (const [i, from] of [old.folder.path, old.folder.best, plain].entries()) {
      const initial = await loadInitialWeights(from);
      assertEquals(initial.source, i < 2 ? old.folder.best : plain);
      assertEquals([initial.model, initial.classNames], [model, classNames]);
      const notices: string[] = [];
      const path = `${folder}/${i}`;
      await train(path, config, {
        start: { initial },
        signal: stop.signal,
        ...on({ notice: ({ text }) => notices.push(text) }),
      });
      const state = await loadState(`${path}/last.safetensors`);
      assertEquals([state.step, state.weights, notices], [0, weights, []]);
    }
  });
}, { backends: ["wasm"] });

forEachBackend(
  "init-from: a head of another class count is reset, other models refused",
  async () => {
    await inFolder(async (folder) => {
      const old = await train(`${folder}/old`, tinyRun);
      const initial = await loadInitialWeights(old.folder.last);
      const stop = new AbortController();
      stop.abort();
      const notices: string[] = [];
      const config = { ...tinyRun, numClasses: 120 };
      await train(`${folder}/new`, config, {
        start: { initial },
        signal: stop.signal,
        ...on({ notice: ({ text }) => notices.push(text) }),
      });
      await train(`${folder}/random`, config, { signal: stop.signal });
      assertEquals(notices.length, 1);
      assert(notices[0]!.includes("one of 100 classes, this run's has 120"), notices[0]);
      const [made, random] = await Promise.all(
        ["new", "random"].map((name) => loadState(`${folder}/${name}/last.safetensors`)),
      );
      for (const [name, { data }] of made!.weights) {
        const expected = (name.startsWith("classifier.") ? random! : initial).weights.get(name)!;
        assertEquals(data, expected.data, name);
      }
      // Its first save is there at once, for a restart would have random weights.
      assertEquals(made!.step, 0);

      // As many classes of other names, or in another order, are other classes.
      const swapped = ["orange circle", "red circle", ...shapes.classNames.slice(2)];
      const heard: string[] = [];
      await train(`${folder}/swapped`, tinyRun, {
        start: { initial },
        dataset: { ...shapes, classNames: swapped },
        signal: stop.signal,
        ...on({ notice: ({ text }) => heard.push(text) }),
      });
      assertEquals(heard, [
        `The classifier starts from random weights: class 0 is "red circle" in ${initial.source} ` +
        `and "orange circle" in this run.`,
      ]);
      const { weights } = await loadState(`${folder}/swapped/last.safetensors`);
      const [kept, reset] = ["norm.gamma", "classifier.kernel"].map((name) =>
        equal(weights.get(name)!.data, initial.weights.get(name)!.data)
      );
      assertEquals([kept, reset], [true, false]);

      const others: Partial<RunConfig>[] = [
        { projectionDim: 16, transformerUnits: [16] },
        // The same shapes, and another meaning.
        { numHeads: 4, keyDim: 2 },
        { transformerLayers: 2 },
        { pooling: "token" },
      ];
      for (const fields of others) {
        const refused = () =>
          train(`${folder}/refused`, { ...tinyRun, ...fields }, {
            start: { initial },
          });
        const { message } = await assertRejects(refused, UserError);
        assert(message.includes(`its ${Object.keys(fields)[0]} is `), message);
        await Deno.remove(`${folder}/refused`, { recursive: true });
      }
      await assertRejects(() => loadInitialWeights(`${folder}/none`), UserError, "no such file");
      await assertRejects(() => loadInitialWeights(folder), UserError, "no config.json");
    });
  },
  { backends: ["cpu"] },
);

forEachBackend(
  "a run from other weights that was killed before its first save is refused",
  async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/run`;
      await createRunFolder(path, tinyRun, "runs/old/best.safetensors");
      await assertRejects(() => goOn(path), UserError, "--init-from runs/old/best.safetensors");
      assert(!(await names(path)).includes("lock.json"));
    });
  },
  { backends: ["cpu"] },
);
