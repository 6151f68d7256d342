import { assertEquals } from "@std/assert";
import { fileResponse } from "../../tasks/static_files.ts";

Deno.test("a page of another host that reaches this server by a name of its own is refused", async () => {
  for (const [host, status] of [["127.0.0.1:8000", 200], ["evil.example:8000", 403]] as const) {
    const response = await fileResponse(new Request(`http://${host}/page.html`), "lib/web");
    await response.body?.cancel();
    assertEquals(response.status, status, host);
  }
});
