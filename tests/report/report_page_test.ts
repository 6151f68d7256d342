import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { preset } from "../../lib/config/run.ts";
import { figureFile } from "../../lib/report/figure.ts";
import type { Example, TestFindings } from "../../lib/report/findings.ts";
import { makeReport, type ReportContent } from "../../lib/report/report_page.ts";

const hostile = `<script>alert("1")</script>`;

const example: Example = {
  picture: { width: 4, height: 4, channels: 3, data: new Uint8Array(48).fill(99) },
  label: hostile,
  guesses: [{ className: hostile, probability: 0.75 }, { className: "b", probability: 0.25 }],
  attention: new Float32Array(4).fill(0.25),
};

const test: TestFindings = {
  result: { loss: 1.5, accuracy: 0.5, top5: 1 },
  ...{ tested: 4, count: 10, classNames: [hostile, "b"], inTop5: [1, 1, 1, 1] },
  ...{ labels: [0, 0, 1, 1], guesses: [0, 1, 1, 0] },
  ...{ right: [example], wrong: [example], surprising: [] },
};

const content: ReportContent = {
  run: hostile,
  config: { ...preset("tiny"), epochs: 2, dataset: "folder:<b>" },
  history: [1, 2].map((epoch) => ({
    ...{ epoch, step: 10 * epoch, loss: 4 / epoch, accuracy: 0.1 * epoch, top5: 0.3 },
    ...{ valLoss: 4, valAccuracy: 0.2 * epoch, valTop5: 0.5, learningRate: 1e-3, seconds: 60 },
  })),
  weights: {
    positions: { side: 2, similarity: new Float32Array(16).fill(0.5) },
    filters: [example.picture],
  },
  test,
  facts: [["computed on", hostile]],
  notices: [hostile],
};

const { html, figures } = await makeReport(content);

Deno.test("no name of a run, a class or a file becomes markup, on the page or in a picture", () => {
  const texts = [html, ...figures.map(({ image }) => typeof image === "string" ? image : "")];
  for (const text of texts) assert(!/<script|alert\("/i.test(text), text.slice(0, 300));
  assertStringIncludes(html, "&lt;script&gt;");
  assert(!html.includes("<b>"));
});

Deno.test("the page needs nothing beside it", () => {
  assertStringIncludes(html, `content="default-src 'none'; img-src data:`);
  const urls = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url!);
  assert(urls.length > 0);
  for (const url of urls) assert(url.startsWith("data:image/png;base64,"), url.slice(0, 80));
  assert(!/url\((?!#)|@import/.test(html));
});

Deno.test("the page has the figures, each also as a file that stands alone", () => {
  const names = figures.map((figure) => figureFile(figure).name);
  assertEquals(names, [
    ...["loss.svg", "accuracy.svg", "top5.svg", "learning_rate.svg", "confusion.svg", "right.svg"],
    ...["wrong.svg", "attention.svg", "filters.svg", "positions.png"],
  ]);
  for (const figure of figures) {
    const { name, bytes } = figureFile(figure);
    const text = new TextDecoder().decode(bytes);
    if (name.endsWith(".svg")) {
      assert(/^<svg [^>]*xmlns=/.test(text) && !text.includes("var("), name);
    } else assertEquals([...bytes.subarray(1, 4)], [0x50, 0x4e, 0x47]);
    assertStringIncludes(html, `id="${figure.name}"`);
  }
});

Deno.test("the numbers of the run stand on the page", () => {
  for (const text of ["50.00 %", "1.5000", "2 of 2", "00:02:00", "first 4 of 10 test images"]) {
    assertStringIncludes(html, text);
  }
  assertStringIncludes(html, "Worst classes");
  assertStringIncludes(html, "Most confused pairs");
});

Deno.test("a run without weights and without an epoch has a page too", async () => {
  const empty = await makeReport({ ...content, history: [], weights: null, test: null });
  assertEquals(empty.figures, []);
  assertStringIncludes(empty.html, "Configuration, all fields");
});

Deno.test("the reference curve of a preset is drawn where the recipe is the preset's", async () => {
  const svg = async (config: ReportContent["config"]) => {
    const { figures } = await makeReport({ ...content, config, test: null });
    return figures.find(({ name }) => name === "accuracy")!.image as string;
  };
  assertStringIncludes(await svg({ ...preset("tiny"), seed: 5, epochs: 2 }), "PyTorch");
  assert(!(await svg({ ...preset("tiny"), learningRate: 2e-3 })).includes("PyTorch"));
});
