/** Training on features that are computed once: the numbers stay those of the run that computes them anew. */
import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import { loadState } from "../../lib/checkpoint/state.ts";
import type { RunConfig } from "../../lib/config/run.ts";
import { MultiHeadAttention } from "../../lib/layers/multi_head_attention.ts";
import { FeatureSplit } from "../../lib/train/features.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { type Finished, goOn, on, stopAt, tinyRun, train } from "./tiny_run.ts";

/** Two blocks and dropout everywhere. */
const base: RunConfig = {
  ...{ ...tinyRun, transformerLayers: 2, mlpDropout: 0.1, dropPath: 0.1 },
  ...{ flip: false, rotation: 0, zoom: 0 },
};

/** Each in another way of what is frozen, and of what follows it. */
const variants: Record<string, Partial<RunConfig>> = {
  "freeze backbone": { freeze: "backbone", accumulate: 2 },
  "freeze backbone, pooling sequence": { freeze: "backbone", pooling: "sequence", ema: 0.5 },
  "freeze 1": { freeze: "1" },
};

const lossesOf = ({ events }: Finished) => events.map(({ loss }) => loss);

for (const [name, fields] of Object.entries(variants)) {
  forEachBackend(`${name}: a run on cached features has the losses of one without`, async () => {
    await inFolder(async (folder) => {
      const config = { ...base, ...fields };
      const plain = await train(`${folder}/plain`, config);
      const cached = await train(`${folder}/cached`, { ...config, cacheFeatures: true });
      const expected = lossesOf(plain);
      lossesOf(cached).forEach((loss, i) => assertAlmostEquals(loss, expected[i]!, 1e-5));
      assertAlmostEquals(cached.result.test!.loss, plain.result.test!.loss, 1e-5);
      const [theirs, ours] = await Promise.all(
        [plain, cached].map(({ folder }) => loadState(folder.last)),
      );
      for (const [weight, { data }] of ours!.weights) {
        const before = theirs!.weights.get(weight)!.data;
        // A bias of keys has no gradient but rounding, which Adam makes a whole step of.
        if (weight.endsWith("key.bias")) continue;
        data.forEach((value, i) => assertAlmostEquals(value, before[i]!, 2e-3, weight));
      }
    });
  });
}

forEachBackend("a run on cached features goes on to the byte", async () => {
  await inFolder(async (folder) => {
    const config: RunConfig = { ...base, freeze: "backbone", cacheFeatures: true };
    const whole = await train(`${folder}/whole`, config);
    await train(`${folder}/cut`, config, stopAt(4));
    const cut = await goOn(`${folder}/cut`);
    const [expected, state] = await Promise.all(
      [whole, cut].map(({ folder }) => loadState(folder.last)),
    );
    assertEquals([...state!.weights], [...expected!.weights]);
    assertEquals([...state!.moments2], [...expected!.moments2]);
    assertEquals(cut.result.test, whole.result.test);
  });
});

forEachBackend("what is frozen is computed once, however many epochs", async () => {
  const { call } = MultiHeadAttention.prototype;
  let calls = 0;
  MultiHeadAttention.prototype.call = function (...args) {
    calls++;
    return call.apply(this, args);
  };
  try {
    await inFolder(async (folder) => {
      const notices: string[] = [];
      const callsOf = async (epochs: number) => {
        calls = 0;
        const config: RunConfig = { ...base, freeze: "backbone", cacheFeatures: true, epochs };
        const listener = on({ notice: ({ text }) => notices.push(text) });
        await train(`${folder}/${epochs}`, config, listener);
        return calls;
      };
      const once = await callsOf(1);
      // Two blocks on 3 batches to train on, 2 held out and 1 of the test; and when a model is made.
      assertLess(once, 20);
      assertEquals(await callsOf(3), once);
      assert(notices[0]!.includes("for each of 75 images: features of 0.0 MB"), notices[0]);
    });
  } finally {
    MultiHeadAttention.prototype.call = call;
  }
}, { backends: ["cpu"] });

forEachBackend("stopped while features are computed, it goes on as the same run", async () => {
  await inFolder(async (folder) => {
    const config: RunConfig = { ...base, freeze: "backbone", cacheFeatures: true };
    const stop = new AbortController();
    const { result } = await train(`${folder}/cut`, config, {
      signal: stop.signal,
      ...on({ features: ({ done }) => done > 20 && stop.abort() }),
    });
    assertEquals([result.complete, result.step], [false, 0]);
    const cut = await goOn(`${folder}/cut`);
    const whole = await train(`${folder}/whole`, config);
    assertEquals(cut.history, whole.history);
  });
}, { backends: ["cpu"] });

Deno.test("the shares of a batch of features are the batch's rows", () => {
  const split = new FeatureSplit(Float32Array.from({ length: 12 }, (_, i) => i), [3], [5, 6, 7, 8]);
  const indices = Int32Array.of(3, 0, 2);
  const { features, labels } = split.trainingValues(indices);
  assertEquals([...features!.values], [9, 10, 11, 0, 1, 2, 6, 7, 8]);
  assertEquals([...labels!.values], [8, 5, 7]);
  const share = split.shareValues(indices, { from: 1, images: 2 });
  assertEquals(share.features!.shape, [2, 3]);
  assertEquals([...share.features!.values], [...features!.values].slice(3));
  assertEquals([...share.labels!.values], [5, 7]);
});
