/**
 * The words of other command lines: what a user of Keras, timm or Hugging Face types, in our words.
 */
import { UserError } from "../lib/errors.ts";

/** Our option by another tool's. */
export const aliases: Readonly<Record<string, string>> = {
  "lr": "learning-rate",
  "bs": "batch-size",
  "train-batch-size": "batch-size",
  "per-device-train-batch-size": "batch-size",
  "wd": "weight-decay",
  "num-epochs": "epochs",
  "num-train-epochs": "epochs",
  "max-train-samples": "limit",
  "val-split": "validation-split",
  "beta-1": "beta1",
  "beta-2": "beta2",
  "adam-beta1": "beta1",
  "adam-beta2": "beta2",
  "eps": "epsilon",
  "opt-eps": "epsilon",
  "adam-epsilon": "epsilon",
  "clip-grad": "clip-norm",
  "clipnorm": "clip-norm",
  "global-clipnorm": "clip-norm",
  "max-grad-norm": "clip-norm",
  "hflip": "flip",
  "img-size": "image-size",
  "input-size": "image-size",
  "num-channels": "channels",
  "in-chans": "channels",
  "embed-dim": "projection-dim",
  "hidden-size": "projection-dim",
  "depth": "transformer-layers",
  "num-layers": "transformer-layers",
  "num-hidden-layers": "transformer-layers",
  "heads": "num-heads",
  "num-attention-heads": "num-heads",
  "num-labels": "num-classes",
  "global-pool": "pooling",
  "layer-norm-eps": "layer-norm-epsilon",
  "attn-drop": "attention-dropout",
  "dataset-name": "dataset",
  "data-dir": "data",
  "data-path": "data",
  "output": "out",
  "output-dir": "out",
  "resume-from-checkpoint": "resume",
  "initial-checkpoint": "init-from",
  "save-steps": "save-every",
  "save-total-limit": "keep",
  "checkpoint-hist": "keep",
  "device": "backend",
};

/** What to do instead, for options that have no counterpart. */
const answers: Readonly<Record<string, string>> = {
  "model": "the model is one of --preset, with options such as --transformer-layers",
  "model-name-or-path": "weights are given with --init-from, a model with --preset",
  "pretrained": "weights to begin from are given with --init-from",
  "opt": "the optimizer is AdamW",
  "optim": "the optimizer is AdamW",
  "optimizer": "the optimizer is AdamW",
  "gpu": "what computes is chosen with --backend",
  "cuda": "what computes is chosen with --backend",
  "no-cuda": "what computes is chosen with --backend, such as wasm",
  "use-cpu": "what computes is chosen with --backend, such as wasm",
  "amp": "mixed precision is --precision f16",
  "fp16": "mixed precision is --precision f16",
  "bf16": "mixed precision is --precision f16",
  "workers": "the images are in memory, and nothing has to be loaded beside the training",
  "num-workers": "the images are in memory, and nothing has to be loaded beside the training",
  "overwrite-output-dir": "a run never replaces another; choose another --out or remove it first",
  "do-train": "the task says what is done, such as deno task train",
  "do-eval": "each epoch is validated; deno task eval evaluates a run",
};

/** What is known of a command's option. */
export interface KnownOption {
  /** Without the dashes. */
  name: string;
  /** Whether its value is true or false. */
  isBoolean: boolean;
}

/**
 * Brings arguments into our words: `--batch_size` and `--batchSize` become `--batch-size`, an alias
 * its option, `--no-flip` becomes `--flip=false` and a bare `--flip` becomes `--flip=true`. What it
 * does not know stays as it is.
 *
 * @param options of the command that is to read them
 * @throws {UserError} for an option of another tool to which there is an answer in words
 */
export function translate(
  args: readonly string[],
  options: readonly KnownOption[],
): string[] {
  const known = new Map(options.map((option) => [option.name, option]));
  const end = args.indexOf("--");
  const last = end < 0 ? args.length : end;
  return args.map((arg, i) => {
    const [, given, value = ""] = /^--([A-Za-z][\w-]*)(=.*)?$/s.exec(arg) ?? [];
    if (given === undefined || i >= last) return arg;
    const name = kebab(given);
    const target = known.has(name) ? name : aliases[name];
    const option = target === undefined ? undefined : known.get(target);
    if (option) {
      const isBare = option.isBoolean && value === "" && (args[i + 1] ?? "-").startsWith("-");
      return `--${option.name}${isBare ? "=true" : value}`;
    }
    const positive = name.startsWith("no-") && value === "" ? name.slice(3) : "";
    const denied = known.get(aliases[positive] ?? positive);
    if (denied?.isBoolean) return `--${denied.name}=false`;
    if (Object.hasOwn(answers, name)) {
      throw new UserError(`There is no option --${given} here: ${answers[name]}; see --help.`);
    }
    return arg;
  });
}

function kebab(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `-${letter}`).replaceAll("_", "-")
    .toLowerCase();
}
