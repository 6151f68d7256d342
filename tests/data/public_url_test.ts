import { assertEquals, assertNotEquals } from "@std/assert";
import { publicUrl, withPublicUrls } from "../../lib/data/public_url.ts";

for (
  const [url, shown] of [
    ["https://h/a.tar.gz", "https://h/a.tar.gz"],
    ["https://me:pass@h:8080/a", "https://h:8080/a"],
    ["https://token@h/a#x", "https://h/a"],
    ["ftp://me:pass@h/a", "ftp://h/a"],
    ["http://me:p/a@s@:x/a", "http://:x/a"],
  ] as const
) {
  Deno.test(`${url} is shown without its secrets`, () => assertEquals(publicUrl(url), shown));
}

Deno.test("a query is told from another and not shown", () => {
  const [a, b] = ["https://h/a?key=one", "https://h/a?key=two"].map(publicUrl);
  assertNotEquals(a, b);
  assertEquals(a!.replace(/[0-9a-f]{8}$/, ""), "https://h/a?");
});

Deno.test("URLs within a text lose theirs", () => {
  assertEquals(withPublicUrls("for url (http://a:b@h/x): no"), "for url (http://h/x): no");
});
