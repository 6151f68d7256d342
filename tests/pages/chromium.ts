/**
 * Pages in a real Chromium (see ../chromium.ts), which may ask their own server alone: what goes wrong
 * on them is kept for the test to look at, since some of it is meant to.
 */
import type { Browser, BrowserContext, Page } from "playwright-core";
import { findChromium, launchChromium } from "../chromium.ts";

/** Whether tests of pages are ignored, for want of a browser and of a demand for one. */
export const ignoreChromium: boolean = Deno.env.get("DENO_VIT_REQUIRE_CHROMIUM") !== "1" &&
  await findChromium() === undefined;

/** A page, and what went wrong on it. */
export interface WatchedPage {
  page: Page;
  /** Errors of the console and of scripts. */
  errors: string[];
  /** URLs that were asked for of other places than `origin`. */
  strangers: string[];
}

/** A browser whose pages are watched. */
export class WatchedBrowser implements AsyncDisposable {
  private constructor(private readonly browser: Browser) {}

  /** Starts a browser. */
  static async start(): Promise<WatchedBrowser> {
    return new WatchedBrowser(await launchChromium());
  }

  /**
   * Opens an empty page.
   * @param origin all that it may load from, such as `http://127.0.0.1:8420`
   */
  async open(
    origin: string,
    options: Parameters<Browser["newContext"]>[0] = {},
  ): Promise<WatchedPage> {
    const context: BrowserContext = await this.browser.newContext(options);
    const page = await context.newPage();
    const [errors, strangers]: [string[], string[]] = [[], []];
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(origin) && !/^(data|blob):/.test(url)) strangers.push(url);
    });
    return { page, errors, strangers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
  }
}

/** Serious faults of a page for those who cannot see or point, by axe-core; a line each. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  // Not by a script element, which the page's own policy forbids.
  await page.evaluate(await Deno.readTextFile(new URL(import.meta.resolve("axe-core/axe.min.js"))));
  return await page.evaluate(async () => {
    // deno-lint-ignore no-explicit-any -- what axe-core leaves in the page
    const { violations } = await (globalThis as any).axe.run();
    return violations
      .filter(({ impact }: { impact: string }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }: { id: string; nodes: { html: string }[] }) =>
        `${id}: ${nodes.map(({ html }) => html).join(" ")}`
      );
  });
}
