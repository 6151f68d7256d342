/** Folders of pictures prepared in tests. */
import { imageFolder } from "../../../lib/data/image_folder.ts";
import {
  prepare,
  type Prepared,
  type PrepareOptions,
  type PrepareProgress,
} from "../../../lib/data/prepared/prepare.ts";

/** What a preparing gave and said. */
export interface Preparing extends Prepared {
  notices: string[];
  progress: PrepareProgress[];
}

/** Prepares the pictures of `FOLDER/photos` in `FOLDER/prepared`. */
export async function prepareIn(
  folder: string,
  options: Partial<PrepareOptions> = {},
): Promise<Preparing> {
  const notices: string[] = [];
  const progress: PrepareProgress[] = [];
  const prepared = await prepare(await imageFolder.open(`${folder}/photos`), {
    root: `${folder}/prepared`,
    form: { size: 8, fit: "crop" },
    workers: 1,
    onNotice: (text) => notices.push(text),
    onProgress: (each) => progress.push(each),
    ...options,
  });
  return { ...prepared, notices, progress };
}

/** The bytes of all files of a folder, by name. */
export async function contents(folder: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for await (const { name } of Deno.readDir(folder)) {
    files[name] = await Deno.readFile(`${folder}/${name}`);
  }
  return files;
}
