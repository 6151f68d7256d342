/** A worker that decodes pictures one after the other, so that its memory is that of one. */
import { UserError } from "../../errors.ts";
import { readBoundedFile } from "../../files.ts";
import { systemCode } from "../../io_error.ts";
import { fitImage } from "../image/fit.ts";
import { decodeImage } from "../image/decode.ts";
import { maxFileBytes } from "../image/read.ts";
import type { Picture, StoredForm } from "../picture_set.ts";

/** What a worker is asked to do. */
export interface DecodeRequest {
  pictures: Picture[];
  form: StoredForm;
}

/** One picture's bytes `[size, size, 3]`, or why there are none. */
export type Decoded = { pixels: Uint8Array<ArrayBuffer> } | { broken: string };

/** What a worker answers: one of each picture, or what no other picture would mend either. */
export type DecodeAnswer =
  | { decoded: Decoded[] }
  | { failed: { message: string; isUsers: boolean; stack?: string } };

async function decode({ name, path, bytes }: Picture, form: StoredForm): Promise<Decoded> {
  try {
    const file = bytes ?? await readBoundedFile(path!, maxFileBytes, "an image");
    const atLeast = Math.ceil(form.size / (form.cropShare ?? 1));
    const image = fitImage(await decodeImage(file, name, { atLeast }), form.size, form);
    return { pixels: new Uint8Array(image.data) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Not the picture's fault, and it may be otherwise tomorrow, of which the key would not know.
    if (systemCode(error.cause) !== undefined) throw error;
    // What is stored must not depend on where the source lies.
    return { broken: path === undefined ? error.message : error.message.replaceAll(path, name) };
  }
}

interface Scope {
  onmessage: ((event: MessageEvent<DecodeRequest>) => void) | null;
  postMessage(answer: DecodeAnswer, transfer?: Transferable[]): void;
}

// Types of a window know no worker.
const scope = self as unknown as Scope;

scope.onmessage = async ({ data: { pictures, form } }) => {
  try {
    const decoded: Decoded[] = [];
    for (const picture of pictures) decoded.push(await decode(picture, form));
    const buffers = decoded.flatMap((each) => "pixels" in each ? [each.pixels.buffer] : []);
    scope.postMessage({ decoded }, buffers);
  } catch (error) {
    const { message, stack } = error as Error;
    scope.postMessage({ failed: { message, stack, isUsers: error instanceof UserError } });
  }
};
