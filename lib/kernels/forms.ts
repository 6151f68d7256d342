/**
 * Two forms of attention, layer normalization and sums over leading dimensions, on webgpu, and the
 * choice of one for a shape.
 *
 * In the form `thread` a thread owns whole rows, or whole sums, and works alone: a software adapter
 * likes that, whose barriers are dear and whose registers may spill into a cache nearby. In the form
 * `workgroup` its threads share a few rows through the workgroup's memory: a GPU wants threads by the
 * ten thousand, few registers in each, and neighbours that read neighbouring addresses.
 *
 * Both write the same tensors, so that one may serve the forward pass and the other the backward
 * pass. They add in different orders, each in the same one every time: their results differ in the
 * last digits, where the tiles of matrix products give equal bits.
 */

/** The names of both forms. */
export const forms = ["thread", "workgroup"] as const;
/** @internal */
type Forms = typeof forms;

/** Owner of a row, or of a sum. */
export type Form = Forms[number];

/** What has both forms, and the sizes that decide between them. */
export type FormedShape =
  | { kernel: "layer_norm" | "layer_norm_grad"; rows: number; dim: number }
  /** `size` sums of `count` numbers each, in all tensors of the dispatch together. */
  | { kernel: "sum_leading"; count: number; size: number }
  | {
    kernel: "attention" | "attention_grad";
    batch: number;
    tokens: number;
    numHeads: number;
    keyDim: number;
  };

/** Forms found better by measurement, by {@linkcode formKey}; they come before the rule. */
export const measuredForms = new Map<string, Form>();

/** Those of the run that goes on, which come before all measurements. */
let ofRun: ReadonlyMap<string, Form> | undefined;
let forced: Form | undefined;

/** Whether it names a form. */
export function isForm(name: string): name is Form {
  return (forms as readonly string[]).includes(name);
}

/**
 * Keeps what a run was computed with so far, so that it goes on to the byte, whatever is measured.
 * @param forms what {@linkcode formsInUse} gave then; names that are no forms are left out. Undefined
 * ends it.
 */
export function keepForms(forms: Readonly<Record<string, string>> | undefined): void {
  ofRun = forms && new Map(
    Object.entries(forms).filter((entry): entry is [string, Form] => isForm(entry[1])),
  );
}

/** Forms by the names of shapes, as {@linkcode chooseForm} takes them now. */
export function formsInUse(): Record<string, Form> {
  return Object.fromEntries([...ofRun ?? measuredForms].sort());
}

/** Demands one form of everything that has two, for tests and benches; undefined ends that. */
export function forceForm(form: Form | undefined): void {
  forced = form;
}

/** A size that grows with the batch, as names have it: similar batches share one. */
export function sizeClass(size: number): number {
  return 2 ** Math.ceil(Math.log2(size));
}

/** Names a shape in {@linkcode measuredForms}; batches of similar sizes share a name. */
export function formKey(shape: FormedShape): string {
  return keyOf(shape, 1);
}

function keyOf(shape: FormedShape, times: number): string {
  const batch = (size: number) => sizeClass(size * times);
  switch (shape.kernel) {
    case "layer_norm":
    case "layer_norm_grad":
      return `${shape.kernel}/${batch(shape.rows)}x${shape.dim}`;
    case "sum_leading":
      return `sum_leading/${batch(shape.count)}x${sizeClass(shape.size)}`;
    default: {
      const { kernel, tokens, numHeads, keyDim } = shape;
      return `${kernel}/${batch(shape.batch)}x${tokens}x${numHeads}x${keyDim}`;
    }
  }
}

/**
 * The form of a shape: the measured one, or that of twice the batch, since the last of an epoch is
 * smaller; else that of a thread, which is the rule until GPUs have been measured.
 */
export function chooseForm(shape: FormedShape): Form {
  const chosen = ofRun ?? measuredForms;
  return forced ?? chosen.get(keyOf(shape, 1)) ?? chosen.get(keyOf(shape, 2)) ?? "thread";
}
