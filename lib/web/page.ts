/// <reference lib="dom" />
/** The page that `deno task export --format web` writes: a picture in, the likeliest classes out. */
import { readPicture, type RgbImage, setWasmPaths, UserError } from "../browser.ts";
import { drawPicture, placeOf } from "./attention_picture.ts";
import { type Answer, Engine } from "./engine.ts";

/** The page's elements, by id. */
const on = {
  about: element("about", HTMLElement),
  attention: element("attention", HTMLInputElement),
  backend: element("backend", HTMLSelectElement),
  camera: element("camera", HTMLButtonElement),
  choose: element("choose", HTMLButtonElement),
  classes: element("classes", HTMLOListElement),
  close: element("close", HTMLButtonElement),
  computer: element("computer", HTMLElement),
  drop: element("drop", HTMLElement),
  file: element("file", HTMLInputElement),
  offline: element("offline", HTMLElement),
  picture: element("picture", HTMLCanvasElement),
  progress: element("progress", HTMLProgressElement),
  shown: element("shown", HTMLElement),
  status: element("status", HTMLElement),
  take: element("take", HTMLButtonElement),
  video: element("video", HTMLVideoElement),
  viewfinder: element("viewfinder", HTMLDialogElement),
};

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`The page has no ${id}.`);
}

let engine: Engine | null = null;
/** What is shown, and what the model is given of it. */
let picture: { shown: ImageBitmap; pixels: RgbImage } | null = null;
let answer: Answer | null = null;
/** What is asked for runs one after another: a device has one model at a time. */
let turn: Promise<void> = Promise.resolve();

function inTurn(work: () => Promise<void>): void {
  turn = turn.then(work).catch((error) => {
    if (!(error instanceof UserError)) console.error(error);
    const text = error instanceof Error ? error.message : String(error);
    say(text, true);
  });
}

function say(text: string, isError = false): void {
  on.status.textContent = text;
  on.status.classList.toggle("error", isError);
}

/** Loads the model onto the backend that is chosen, and answers again where there is a picture. */
async function start(): Promise<void> {
  on.backend.disabled = true;
  on.classes.hidden = true;
  engine?.[Symbol.dispose]();
  engine = null;
  say("Loading the model…");
  on.progress.hidden = false;
  const url = new URL("model/model.json", location.href).href;
  try {
    engine = await Engine.start(on.backend.value, url, (share) => {
      on.progress.value = share;
      if (share === 1) say("Getting ready…");
    });
  } finally {
    on.backend.disabled = false;
    on.progress.hidden = true;
  }
  const { name, gpu } = engine.backend;
  on.computer.textContent = `Computes on ${labelOf(name)}${gpu ? `: ${gpu.description}` : ""}.`;
  say("Ready for a picture.");
  await classify();
}

function labelOf(backend: string): string {
  const option = [...on.backend.options].find(({ value }) => value === backend);
  return option?.textContent ?? backend;
}

async function classify(): Promise<void> {
  if (!engine || !picture) return;
  say("Looking…");
  answer = await engine.answer(picture.pixels);
  draw();
  const { guesses, milliseconds, attention } = answer;
  on.classes.replaceChildren(...guesses.map(({ className, probability }) => {
    const item = document.createElement("li");
    const name = part("name", className);
    const share = part("share", percent(probability));
    const bar = part("bar", "");
    bar.style.width = `${100 * probability}%`;
    item.append(name, share, bar);
    return item;
  }));
  on.classes.hidden = false;
  const [first] = guesses;
  on.picture.setAttribute("aria-label", `The picture; the model looks most ${placeOf(attention)}`);
  say(
    `${first!.className}, ${percent(first!.probability)}; in ${duration(milliseconds)} on ${
      labelOf(engine.backend.name)
    }`,
  );
}

function part(className: string, text: string): HTMLElement {
  const span = document.createElement("span");
  span.className = className;
  span.ariaHidden = text === "" ? "true" : null;
  span.textContent = text;
  return span;
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const duration = (ms: number): string =>
  ms < 1000 ? `${ms.toFixed()} ms` : `${(ms / 1000).toFixed(1)} s`;

function draw(): void {
  if (!picture || !engine) return;
  const map = on.attention.checked ? answer?.attention ?? null : null;
  drawPicture(on.picture, picture.shown, engine.fit, map);
  on.shown.hidden = false;
}

/** Takes a picture in: a file, or what a video shows. */
function look(source: Blob | HTMLVideoElement): void {
  inTurn(async () => {
    if (!engine) throw new UserError("The model is not loaded; choose what to compute on.");
    try {
      if (source instanceof HTMLVideoElement) await firstFrame(source);
      const pixels = await readPicture(source, { atLeast: engine.size });
      const shown = await createImageBitmap(source);
      picture?.shown.close();
      picture = { shown, pixels };
    } catch {
      const name = source instanceof File ? source.name : "This";
      throw new UserError(`${name} is no picture that this browser can read.`);
    }
    answer = null;
    on.classes.hidden = true;
    draw();
    await classify();
  });
}

/** A camera takes a while to wake, and a hand may be faster. */
async function firstFrame(video: HTMLVideoElement): Promise<void> {
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return;
  await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
}

function pictureIn(transfer: DataTransfer | null): File | undefined {
  return [...transfer?.files ?? []][0];
}

function listen(): void {
  on.choose.addEventListener("click", () => on.file.click());
  on.file.addEventListener("change", () => {
    const [file] = on.file.files ?? [];
    if (file) look(file);
    // So that the same file can be chosen again.
    on.file.value = "";
  });
  // Wherever it is dropped: else the browser would leave the page for the picture.
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      on.drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) on.drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    on.drop.classList.remove("over");
    const file = pictureIn(event.dataTransfer);
    if (file) look(file);
    else say("What was dropped is no file; drop a picture.", true);
  });
  document.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (file) look(file);
  });
  on.attention.addEventListener("change", draw);
  on.backend.addEventListener("change", () => inTurn(start));
  listenToCamera();
}

function listenToCamera(): void {
  // Absent where the page is not served safely.
  const { mediaDevices } = navigator as { mediaDevices?: MediaDevices };
  on.camera.hidden = mediaDevices === undefined;
  on.camera.addEventListener("click", async () => {
    try {
      on.video.srcObject = await mediaDevices!.getUserMedia({
        video: { facingMode: "environment" },
      });
    } catch {
      return say("The camera cannot be used: there is none, or this page may not.", true);
    }
    on.viewfinder.showModal();
    await on.video.play();
  });
  on.take.addEventListener("click", () => {
    look(on.video);
    inTurn(() => Promise.resolve(on.viewfinder.close()));
  });
  on.close.addEventListener("click", () => on.viewfinder.close());
  // By Escape too.
  on.viewfinder.addEventListener("close", () => {
    const stream = on.video.srcObject as MediaStream | null;
    for (const track of stream?.getTracks() ?? []) track.stop();
    on.video.srcObject = null;
  });
}

/** Says whose model it is. */
async function introduce(): Promise<void> {
  const about: { title: string; classes: number } = await (await fetch("about.json")).json();
  document.title = `${about.title}: what is in the picture?`;
  on.about.textContent =
    `${about.title}, a Vision Transformer that knows ${about.classes} classes, in your browser.`;
}

async function keepOffline(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("service_worker.js");
  await navigator.serviceWorker.ready;
  on.offline.textContent = "Works without a network from now on.";
}

setWasmPaths(new URL("./", location.href).href);
const wanted = new URLSearchParams(location.search).get("backend");
if ([...on.backend.options].some(({ value }) => value === wanted)) on.backend.value = wanted!;
listen();
inTurn(introduce);
inTurn(start);
keepOffline().catch((error) => console.warn(error));
