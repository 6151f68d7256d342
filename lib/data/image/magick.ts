/**
 * ImageMagick as WebAssembly, which decodes every kind of picture.
 *
 * Chosen by measuring (2 processors, Deno 2.9.6): a JPEG of 800x600 takes it 12.6 ms, mozjpeg
 * (`@jsquash/jpeg`) 12.0, libvips 12.7 as WebAssembly and 9.2 as native code (`sharp`, which wants
 * --allow-ffi and --allow-env), jpeg-js 34.9. It alone does all kinds with orientation, CMYK and 16
 * bits. It costs 15 MB of WebAssembly: 0.25 s and 60 MB at the first picture of a process.
 */
import { importMagick, type MagickWasm, magickWasmUrl } from "../../deps.ts";
import { UserError } from "../../errors.ts";

let ready: Promise<MagickWasm> | undefined;

/**
 * The decoder, started at the first call.
 * @throws {UserError} if its file may not be read.
 */
export function startMagick(): Promise<MagickWasm> {
  ready ??= start();
  return ready;
}

/** Makes the next picture begin with a fresh decoder, after one that crashed it. */
export async function dropMagick(): Promise<void> {
  const magick = await ready;
  // Its types leave the setter out.
  if (magick) (magick.ImageMagick as unknown as { _api: undefined })._api = undefined;
  ready = undefined;
}

async function start(): Promise<MagickWasm> {
  const url = magickWasmUrl();
  let module: WebAssembly.Module;
  try {
    module = await WebAssembly.compile(await Deno.readFile(url));
  } catch (error) {
    ready = undefined;
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new UserError(
      "Pictures are decoded by a .wasm file in Deno's npm cache, which this permission to read does not cover; start Deno with --allow-read.",
      { cause: error },
    );
  }
  const magick = await importMagick();
  await magick.initializeImageMagick(module);
  const { ResourceLimits } = magick;
  // What we check ourselves comes first; these hold where a file has other sizes than it declares.
  ResourceLimits.memory = 320n << 20n;
  ResourceLimits.maxMemoryRequest = 320n << 20n;
  ResourceLimits.disk = 0n;
  return magick;
}
