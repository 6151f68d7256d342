/** The foreign models of tests/golden/foreign, whole or changed. */
import { encodeSafetensors, readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import type { SafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import type { LayoutName } from "../../lib/foreign/layouts.ts";

/** The folders, and the layout that each has. */
export const goldenLayouts = {
  timm: "timm",
  hf: "hf",
  torchvision: "torchvision",
  "deit-distilled": "timm",
} as const satisfies Record<string, LayoutName>;

/** A folder's name. */
export type GoldenName = keyof typeof goldenLayouts;

/** The path of a folder. */
export function goldenFolder(name: GoldenName): string {
  return new URL(`../golden/foreign/${name}`, import.meta.url).pathname;
}

/** What to change of a model. */
export interface Changes {
  model?: (file: SafetensorsFile) => void;
  /** Of `config.json`. */
  // deno-lint-ignore no-explicit-any -- a test puts in what it likes
  config?: (config: any) => unknown;
  /** Of `preprocessor_config.json`. */
  // deno-lint-ignore no-explicit-any -- a test puts in what it likes
  preprocessor?: (config: any) => unknown;
}

/** Writes a folder's model with changes; `undefined` from a change of JSON keeps the changed object. */
export async function writeChanged(
  folder: string,
  name: GoldenName,
  { model, config, preprocessor }: Changes,
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for await (const { name: file } of Deno.readDir(goldenFolder(name))) {
    await Deno.copyFile(`${goldenFolder(name)}/${file}`, `${folder}/${file}`);
  }
  if (model) {
    const path = `${folder}/model.safetensors`;
    const file = await readSafetensorsFile(path);
    model(file);
    await Deno.writeFile(path, encodeSafetensors(file.tensors, file.metadata));
  }
  for (
    const [file, change] of [["config", config], ["preprocessor_config", preprocessor]] as const
  ) {
    if (!change) continue;
    const path = `${folder}/${file}.json`;
    const value = JSON.parse(await Deno.readTextFile(path));
    const changed = change(value);
    const text = typeof changed === "string" ? changed : JSON.stringify(changed ?? value);
    await Deno.writeTextFile(path, text);
  }
}
