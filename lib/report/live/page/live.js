/** The live page: what the server tells of the runs, as cards, charts, pictures and a table. */
import { drawCharts, recolor } from "./charts.js";
import { bestOf, duration, percent, runs, take } from "./state.js";

/** Milliseconds between two drawings; a burst of news is drawn once. */
const interval = 250;

const connection = document.querySelector("#connection");
const allFields = document.querySelector("#all-fields");
let timer;

function drawSoon() {
  // A page behind others takes no time of the trainer's; it is drawn when it comes forward.
  if (document.hidden) return;
  timer ??= setTimeout(() => {
    timer = undefined;
    drawCards();
    drawCharts(runs);
    drawStrips();
    drawConfigurations();
  }, interval);
}

/** An element with text or other elements in it; text is never markup. */
function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

function drawCards() {
  document.title = `${runs.map(({ name }) => name).join(", ")} – deno-vit`;
  const place = document.querySelector("#runs");
  runs.forEach((run, index) => {
    const card = place.children[index] ?? place.appendChild(newCard(index));
    card.style.setProperty("--line", run.color);
    card.querySelector("h2 span").textContent = run.name;
    const bar = card.querySelector("progress");
    bar.hidden = !(run.total > 0);
    if (run.total > 0) bar.value = run.step / run.total;
    card.querySelector(".status").textContent = run.status;
    card.querySelector("dl").replaceChildren(
      ...factsOf(run).map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value))
      ),
    );
    const link = card.querySelector("a");
    link.hidden = !run.hasReport;
  });
}

function newCard(index) {
  const box = element("input", { type: "checkbox", id: `run-${index}`, checked: "" });
  box.addEventListener("change", () => {
    runs[index].isShown = box.checked;
    drawSoon();
  });
  return element(
    "section",
    { class: "run" },
    element("h2", {}, element("label", {}, box, " ", element("span", {}))),
    element("p", { class: "status muted" }),
    element("progress", { max: "1", "aria-label": "Steps done" }),
    element("dl", {}),
    element("a", { href: `/runs/${index}/report.html` }, "Report"),
  );
}

function factsOf(run) {
  const { epochs, steps, test } = run;
  const [line, step, best] = [epochs.at(-1), steps.at(-1), bestOf(run)];
  const facts = [
    [
      "epoch",
      run.total > 0 &&
      `${
        Math.min(Math.floor(step?.at ?? line?.epoch ?? 0) + 1, run.epochCount)
      } of ${run.epochCount}`,
    ],
    ["step", run.total > 0 && `${run.step} of ${run.total}`],
    ["train loss", (step ?? line)?.loss?.toFixed(4)],
    ["val_accuracy", line?.valAccuracy != null && percent(line.valAccuracy)],
    [
      "best so far",
      best &&
      (best.value < 0 ? `epoch ${best.epoch}` : `${percent(best.value)}, epoch ${best.epoch}`),
    ],
    ["images/s", run.isRunning && step?.imagesPerSecond?.toFixed(1)],
    ["time left", run.isRunning && step?.secondsLeft != null && duration(step.secondsLeft)],
    ["test top-1", test && percent(test.accuracy)],
    ["test top-5", test && percent(test.top5)],
  ];
  return facts.filter(([, value]) => value);
}

function drawStrips() {
  const place = document.querySelector("#strips");
  const wanted = runs.map((run, index) => ({ ...run, index }))
    .filter(({ isShown, strip }) => isShown && strip)
    .map(({ index, strip, name }) => ({ src: `/runs/${index}/strip.png?${strip}`, name }));
  const key = JSON.stringify(wanted);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const none = element("p", { class: "muted" }, "A run writes them when it begins.");
  place.replaceChildren(
    ...wanted.length === 0 ? [none] : wanted.map(({ src, name }) =>
      element(
        "figure",
        {},
        element("img", { src, alt: `Augmented training images of ${name}` }),
        element("figcaption", {}, name),
      )
    ),
  );
}

function drawConfigurations() {
  const shown = runs.filter(({ isShown, config }) => isShown && config);
  const place = document.querySelector("#configurations");
  const key = JSON.stringify([allFields.checked, shown.map(({ name, config }) => [name, config])]);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const fields = [...new Set(shown.flatMap(({ config }) => Object.keys(config)))];
  const rows = fields.map((field) => {
    const values = shown.map(({ config }) => JSON.stringify(config[field]) ?? "");
    return { field, values, differs: new Set(values).size > 1 };
  }).filter(({ differs }) => differs || allFields.checked);
  if (rows.length === 0) {
    const text = shown.length > 1 ? "All fields are equal." : "One run; nothing to compare.";
    place.replaceChildren(element("p", { class: "muted" }, text));
    return;
  }
  const head = ["field", ...shown.map(({ name }) => name)];
  place.replaceChildren(element(
    "table",
    {},
    element(
      "thead",
      {},
      element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name))),
    ),
    element(
      "tbody",
      {},
      ...rows.map(({ field, values, differs }) =>
        element(
          "tr",
          differs && shown.length > 1 ? { class: "differs" } : {},
          element("th", { scope: "row" }, field),
          ...values.map((value) => element("td", {}, value)),
        )
      ),
    ),
  ));
}

// EventSource itself connects again, for as long as the page is open.
const events = new EventSource("/events");
events.onopen = () => {
  connection.textContent = "Connected";
  connection.classList.remove("lost");
};
events.onerror = () => {
  connection.textContent = "The server is gone; trying again …";
  connection.classList.add("lost");
  // A refusal ends an EventSource for good.
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
};
events.addEventListener("runs", ({ data }) => {
  const list = JSON.parse(data);
  runs.length = Math.min(runs.length, list.length);
  const place = document.querySelector("#runs");
  while (place.children.length > list.length) place.lastChild.remove();
  list.forEach(take);
  drawSoon();
});
events.addEventListener("run", ({ data }) => {
  take(JSON.parse(data));
  drawSoon();
});
allFields.addEventListener("change", drawSoon);
document.addEventListener("visibilitychange", drawSoon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recolor(runs));
