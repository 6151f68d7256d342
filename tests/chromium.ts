/**
 * A real Chromium without a window, for tests of pages: WebGPU and WebGL in software, a camera that
 * shows a test picture, and no host but this machine's own servers.
 */
import { assertEquals } from "@std/assert";
import { fileResponse } from "../tasks/static_files.ts";
import type { Browser, BrowserContext, BrowserType, Page } from "playwright-core";

/** A page, and what a test of it must look at in the end. */
export interface WatchedPage {
  page: Page;
  /** Errors and warnings of the console, and exceptions that nobody caught. */
  complaints: string[];
  /** Requests that would have left this machine; each was refused. */
  requestsOutside: string[];
}

/** What a page is opened with. */
export interface PageOptions {
  /** A phone's; by default a screen of 1280 by 800 pixels. */
  viewport?: { width: number; height: number };
  colorScheme?: "light" | "dark";
}

/** Software rendering is slow beside tests that compute. */
const patience = 120_000;

/** Complaints that say only that this machine has no graphics card. */
const harmless = /software (WebGL|rendering)|GPU stall due to ReadPixels|swiftshader/i;

/** Starts Chromium; whoever does so closes it. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = await findChromium();
  if (executablePath === undefined) {
    throw new Error("There is no chromium on the path; apt-get install chromium brings it.");
  }
  return await (await importChromium()).launch({
    executablePath,
    // Root in a container has no sandbox; the pages are our own.
    chromiumSandbox: false,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--enable-features=Vulkan",
      "--enable-unsafe-swiftshader",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      // Not even the browser's own services.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      "--disable-background-networking",
      "--disable-component-update",
    ],
  });
}

/** Starts Chromium for a test, and ends it. */
export async function withChromium<T>(test: (browser: Browser) => Promise<T>): Promise<T> {
  const browser = await launchChromium();
  try {
    return await test(browser);
  } finally {
    await browser.close();
  }
}

/** Opens a URL of this machine in a profile of its own, and asserts afterwards that all was well. */
export async function withPage<T>(
  browser: Browser,
  url: string,
  test: (watched: WatchedPage, context: BrowserContext) => Promise<T>,
  options: PageOptions = {},
): Promise<T> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  try {
    context.setDefaultTimeout(patience);
    const complaints: string[] = [];
    const requestsOutside: string[] = [];
    context.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      const isHere = hostname === "127.0.0.1" || ["data:", "blob:"].includes(protocol);
      if (!isHere) requestsOutside.push(request.url());
    });
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
    page.on("console", (message) => {
      const isBad = ["error", "warning"].includes(message.type());
      const text = `${message.text()} (${message.location().url})`;
      if (isBad && !harmless.test(text)) complaints.push(text);
    });
    await page.goto(url);
    const result = await test({ page, complaints, requestsOutside }, context);
    assertEquals(complaints, [], "the console has complaints");
    assertEquals(requestsOutside, [], "requests would have left this machine");
    return result;
  } finally {
    await context.close();
  }
}

/** Serves a folder on this machine for a test; `origin` is without a slash at its end. */
export async function withServer<T>(
  folder: string,
  test: (origin: string) => Promise<T>,
): Promise<T> {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => fileResponse(request, folder),
  );
  return await test(`http://127.0.0.1:${server.addr.port}`);
}

/** Playwright, which asks a place of Linux that Deno closes unless all is allowed, but for this. */
async function importChromium(): Promise<BrowserType> {
  Deno.env.set("__IS_WSL_TEST__", "1");
  return (await import("playwright-core")).chromium;
}

/** The first `chromium` on the path, if there is one. */
export async function findChromium(): Promise<string | undefined> {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${folder}/chromium`;
    if ((await Deno.stat(path).catch(() => null))?.isFile) return path;
  }
}
