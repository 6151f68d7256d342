import { assertEquals } from "@std/assert";
import { crc32c, maskedCrc32c } from "../../../lib/report/tensorboard/crc32c.ts";

// The values of RFC 3720, appendix B.4.
const bytes = (value: (i: number) => number) => Uint8Array.from({ length: 32 }, (_, i) => value(i));

Deno.test("CRC-32C is that of RFC 3720", () => {
  assertEquals(crc32c(bytes(() => 0)), 0x8a9136aa);
  assertEquals(crc32c(bytes(() => 0xff)), 0x62a8ab43);
  assertEquals(crc32c(bytes((i) => i)), 0x46dd794e);
  assertEquals(crc32c(bytes((i) => 31 - i)), 0x113fdb5c);
});

Deno.test("the mask turns by 15 bits and adds a constant", () => {
  assertEquals(maskedCrc32c(new Uint8Array()), 0xa282ead8);
  const crc = 0x8a9136aa;
  const turned = ((crc >>> 15) | (crc << 17)) >>> 0;
  assertEquals(maskedCrc32c(bytes(() => 0)), (turned + 0xa282ead8) % 2 ** 32);
});
