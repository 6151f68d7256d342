import { assert, assertEquals } from "@std/assert";
import { firstWebpFrame } from "../../../lib/data/image/first_frame.ts";

const pictures = new URL("../pictures", import.meta.url).pathname;

Deno.test("an animation ends after its first frame, and declares so", async () => {
  const whole = await Deno.readFile(`${pictures}/moving.webp`);
  const first = firstWebpFrame(whole);
  assert(first.length < whole.length, `${first.length} bytes of ${whole.length}`);
  assertEquals(new DataView(first.buffer).getUint32(4, true), first.length - 8);
  assertEquals(firstWebpFrame(first), first);
  assertEquals(new TextDecoder("latin1").decode(whole.subarray(first.length)).slice(0, 4), "ANMF");
});

Deno.test("a still image and a damaged one stay as they are", async () => {
  const still = await Deno.readFile(`${pictures}/lossy.webp`);
  assert(firstWebpFrame(still) === still);
  const cut = (await Deno.readFile(`${pictures}/moving.webp`)).subarray(0, 90);
  assert(firstWebpFrame(cut) === cut);
});
