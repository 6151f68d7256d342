import { assertEquals } from "@std/assert";
import { dispatchCount } from "../../lib/backend/compute.ts";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { forceForm, type Form, formKey, measuredForms } from "../../lib/kernels/forms.ts";
import { trainingForms } from "../../lib/models/formed_shapes.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { forEachBackend } from "../backends.ts";
import { encodeGradients, tinyModel } from "./tiny_model.ts";

const variants: Partial<RunConfig>[] = [
  { pooling: "mean" },
  { pooling: "sequence", tokenizer: "shifted", positionEmbedding: "sincos2d", qkvBias: false },
  { pooling: "token", tokenizer: "shifted", finalNorm: "pooled" },
];

/** The gradients of a step, encoded. */
function encodeStep(config: RunConfig, run: (encode: () => void) => void): void {
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  try {
    run(() => encodeGradients(model, config.batchSize));
  } finally {
    model.dispose();
  }
}

// Enough images that the sums of kernels are split.
const base: RunConfig = { ...preset("tiny"), ...tinyModel, batchSize: 130 };

for (const fields of variants) {
  forEachBackend(`trainingForms names the shapes of a step, ${Object.values(fields)}`, () => {
    const config = { ...base, ...fields };
    const asked = new Set<string>();
    const ask = measuredForms.get;
    try {
      measuredForms.get = (key): Form => {
        asked.add(key);
        return "thread";
      };
      encodeStep(config, (encode) => encode());
    } finally {
      measuredForms.get = ask;
    }
    assertEquals([...new Set(trainingForms(config).map(formKey))].sort(), [...asked].sort());
  }, { backends: ["webgpu"] });
}

forEachBackend("a step takes as many dispatches in either form", () => {
  encodeStep(base, (encode) => {
    const counts = (["thread", "workgroup"] as const).map((form) => {
      const before = dispatchCount;
      forceForm(form);
      try {
        encode();
      } finally {
        forceForm(undefined);
      }
      return dispatchCount - before;
    });
    assertEquals(counts[1], counts[0]);
  });
}, { backends: ["webgpu"] });
