import { assertEquals, assertRejects } from "@std/assert";
import { encodeSealed, readSealedFile, verifySealedFile } from "../../lib/checkpoint/checksums.ts";
import { readSafetensorsFile, type TensorData } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { randomBits, streamKey } from "../../lib/random.ts";
import { inFolder } from "./folder.ts";

const random = streamKey(1, 1, 1);
const tensors = new Map<string, TensorData>(
  ["blocks.0.kernel", "blocks.0.bias", "ünïcode"].map((name, i) => [name, {
    dtype: "F32",
    shape: [50, i + 1],
    data: Float32Array.from({ length: 50 * (i + 1) }, (_, k) => k * 0.37 - i),
  }]),
);
tensors.set("empty", { dtype: "F32", shape: [0], data: new Float32Array(0) });
const metadata = { config: '{"a":"b"}', kind: "state" };

async function sealed(): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Blob(await encodeSealed(tensors, metadata)).arrayBuffer());
}

Deno.test("a sealed file comes back, and is an ordinary one to other readers", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    await Deno.writeFile(path, await sealed());
    const back = await readSealedFile(path);
    assertEquals(back.tensors, tensors);
    assertEquals(back.metadata.config, metadata.config);
    assertEquals((await readSafetensorsFile(path)).tensors, tensors);
    await verifySealedFile(path);
  }));

Deno.test("every changed byte of the header is noticed, each in three ways", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const bytes = await sealed();
    const head = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    await Deno.writeFile(path, bytes);
    using file = await Deno.open(path, { write: true });
    const put = (at: number, byte: number) => {
      file.seekSync(at, Deno.SeekMode.Start);
      file.writeSync(Uint8Array.of(byte));
    };
    for (let at = 0; at < head; at++) {
      // The lowest bit, the one that changes case, and one drawn by lot.
      for (const flip of [1, 0x20, 1 + randomBits(random, at) % 255]) {
        put(at, bytes[at]! ^ flip);
        await assertRejects(() => readSealedFile(path, { select: () => false }), UserError, path);
      }
      put(at, bytes[at]!);
    }
    await verifySealedFile(path);
  }));

Deno.test("1,000 changed bytes of the body are noticed, by loading and by verifying", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const bytes = await sealed();
    const head = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    await Deno.writeFile(path, bytes);
    using file = await Deno.open(path, { write: true });
    const put = (at: number, byte: number) => {
      file.seekSync(at, Deno.SeekMode.Start);
      file.writeSync(Uint8Array.of(byte));
    };
    for (let i = 0; i < 1000; i++) {
      const at = head + randomBits(random, 2 * i) % (bytes.length - head);
      put(at, bytes[at]! ^ (1 + randomBits(random, 2 * i + 1) % 255));
      const check = i % 2 === 0 ? readSealedFile : verifySealedFile;
      await assertRejects(() => check(path), UserError, "is damaged: tensor");
      put(at, bytes[at]!);
    }
    await verifySealedFile(path);
  }));

Deno.test("a file cut short at any of a hundred places is refused", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const bytes = await sealed();
    for (let i = 0; i < 100; i++) {
      await Deno.writeFile(path, bytes.subarray(0, Math.floor(i * bytes.length / 100)));
      await assertRejects(() => readSealedFile(path), UserError, path);
    }
  }));

Deno.test("a damaged tensor that is not selected does not matter", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.safetensors`;
    const bytes = await sealed();
    bytes[bytes.length - 1]! ^= 1;
    await Deno.writeFile(path, bytes);
    const { tensors } = await readSealedFile(path, { select: (name) => name !== "ünïcode" });
    assertEquals(tensors.size, 3);
    await assertRejects(() => readSealedFile(path), UserError, "tensor ünïcode");
  }));

Deno.test("a foreign file is told from a damaged one", async () => {
  const path = new URL("../golden/small-mean.safetensors", import.meta.url).pathname;
  await assertRejects(() => readSealedFile(path), UserError, "no checkpoint of this project");
});
