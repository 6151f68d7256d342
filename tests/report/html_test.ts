import { assertEquals } from "@std/assert";
import { escapeHtml, html, Markup } from "../../lib/report/html.ts";

Deno.test("what is put into a template is text, also in an attribute", () => {
  const hostile = `"><script>alert('1')</script>&`;
  assertEquals(
    html`<a title="${hostile}">${hostile}</a>`.text,
    `<a title="&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;">` +
      "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;</a>",
  );
});

Deno.test("markup stays markup, lists are joined, and nothing leaves nothing", () => {
  const items = ["a<", 1].map((item) => html`<li>${item}</li>`);
  assertEquals(
    html`<ul>${items}${null}${undefined}${false}${new Markup("<li>")}</ul>`.text,
    "<ul><li>a&lt;</li><li>1</li><li></ul>",
  );
});

Deno.test("characters that no SVG may hold are replaced", () => {
  assertEquals(escapeHtml("a\0b\x1bc\ud800d\n"), "a\ufffdb\ufffdc\ufffdd\n");
});
