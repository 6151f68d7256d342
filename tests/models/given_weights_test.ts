/** Models that are made with their weights hold them all, whatever they are made of. */
import { assertEquals } from "@std/assert";
import type { ViTConfig } from "../../lib/config/model.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { forEachBackend } from "../backends.ts";
import { smallConfig, somePortable } from "../export/models.ts";
import { valuesOf } from "./tiny_model.ts";

const kinds: Partial<ViTConfig>[] = [
  {},
  { tokenizer: "conv", convChannels: [8], pooling: "sequence" },
  { tokenizer: "shifted", localityAttention: true, layerScale: 0.1, mlpHeadUnits: [7] },
  { pooling: "token", distillation: "heads", qkvBias: false },
  { pooling: "mean", classToken: true, finalNorm: "pooled" },
];
for (const changes of kinds) {
  forEachBackend(
    `a model ${JSON.stringify(changes)} holds the weights that it is given`,
    async () => {
      const { config, weights } = somePortable(smallConfig(changes));
      const model = createViTClassifier(config, { given: weights });
      const variables = namedVariables(model);
      assertEquals(new Set(variables.keys()), new Set(weights.keys()));
      for (const [name, variable] of variables) {
        assertEquals(await valuesOf(variable), weights.get(name)!.data, name);
      }
      model.dispose();
    },
    { backends: ["webgpu", "cpu"] },
  );
}
