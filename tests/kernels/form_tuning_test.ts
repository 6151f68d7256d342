import { assert, assertEquals } from "@std/assert";
import { tuneForms, untunedForms } from "../../lib/kernels/form_tuning.ts";
import { type FormedShape, formKey, measuredForms } from "../../lib/kernels/forms.ts";
import { forEachBackend } from "../backends.ts";

const attention = { batch: 1, tokens: 6, numHeads: 1, keyDim: 4 };
const shapes: FormedShape[] = [
  { kernel: "layer_norm", rows: 9, dim: 8 },
  { kernel: "layer_norm_grad", rows: 9, dim: 8 },
  { kernel: "sum_leading", count: 5, size: 12 },
  { kernel: "attention", ...attention },
  { kernel: "attention_grad", ...attention },
];

async function fresh(run: () => Promise<void>): Promise<void> {
  measuredForms.clear();
  try {
    await run();
  } finally {
    measuredForms.clear();
  }
}

forEachBackend(
  "tuneForms measures both forms of every kernel on the device",
  () =>
    fresh(async () => {
      const results = await tuneForms(shapes);
      assertEquals(results.map(({ key }) => key), shapes.map(formKey));
      for (const { key, best, milliseconds: { thread, workgroup } } of results) {
        assert(thread! > 0 && workgroup! > 0, `${key} took ${thread} and ${workgroup} ms`);
        assertEquals(best, workgroup! < thread! ? "workgroup" : "thread");
        assertEquals(measuredForms.get(key), best);
      }
      assertEquals(untunedForms(shapes), []);
    }),
  { backends: ["webgpu"] },
);

forEachBackend("tuneForms takes the faster form and asks only once", () =>
  fresh(async () => {
    let call = 0;
    const measure = (run: () => void) => {
      run();
      return Promise.resolve(Math.floor(call++ / 4) === 1 ? 5 : 7);
    };
    const [result] = await tuneForms([shapes[0]!, shapes[0]!], { measure });
    assertEquals([call, result!.best], [8, "workgroup"]);
    assertEquals(await tuneForms([shapes[0]!], { measure: () => Promise.reject(new Error()) }), []);
  }), { backends: ["webgpu"] });
