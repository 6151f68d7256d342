import { assertEquals } from "@std/assert";
import {
  chooseForm,
  type FormedShape,
  formKey,
  formsInUse,
  keepForms,
  measuredForms,
} from "../../lib/kernels/forms.ts";
import { inForm } from "./forms.ts";

const attention = (
  batch: number,
  kernel: "attention" | "attention_grad" = "attention",
): FormedShape => ({ kernel, batch, tokens: 144, numHeads: 4, keyDim: 64 });

Deno.test("a form is that of a thread unless another was measured, for smaller batches too", () => {
  assertEquals(chooseForm(attention(256)), "thread");
  try {
    measuredForms.set(formKey(attention(256)), "workgroup");
    assertEquals([256, 200, 100, 60].map((batch) => chooseForm(attention(batch))), [
      ...["workgroup", "workgroup", "workgroup"],
      "thread",
    ]);
    assertEquals(chooseForm(attention(256, "attention_grad")), "thread");
  } finally {
    measuredForms.clear();
  }
});

Deno.test("a demanded form comes before a measured one", async () => {
  try {
    measuredForms.set(formKey(attention(8)), "workgroup");
    assertEquals(await inForm("thread", () => chooseForm(attention(8))), "thread");
    assertEquals(chooseForm(attention(8)), "workgroup");
  } finally {
    measuredForms.clear();
  }
});

Deno.test("names of shapes keep apart what needs another form", () => {
  const keys = [
    attention(200),
    { kernel: "layer_norm", rows: 1100, dim: 64 },
    { kernel: "layer_norm_grad", rows: 1100, dim: 64 },
    { kernel: "sum_leading", count: 9, size: 130 },
  ] as const;
  assertEquals(keys.map(formKey), [
    "attention/256x144x4x64",
    "layer_norm/2048x64",
    "layer_norm_grad/2048x64",
    "sum_leading/16x256",
  ]);
});

Deno.test("a run that goes on keeps its forms, and what it had none for has none", () => {
  try {
    keepForms({ [formKey(attention(8))]: "workgroup", other: "no form" });
    measuredForms.set(formKey(attention(64)), "workgroup");
    assertEquals(chooseForm(attention(8)), "workgroup");
    assertEquals(chooseForm(attention(64)), "thread");
    assertEquals(formsInUse(), { [formKey(attention(8))]: "workgroup" });
  } finally {
    keepForms(undefined);
    measuredForms.clear();
  }
});
