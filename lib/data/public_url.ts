import { createHash } from "node:crypto";

/**
 * The form of a URL that may be shown and stored: without user and password, and with a query,
 * which may be a key to the file, as the beginning of its checksum. What is no URL loses all before
 * its last `@`.
 */
export function publicUrl(url: string): string {
  if (!URL.canParse(url)) return url.replace(/\/\/.*@/s, "//");
  const { protocol, host, pathname, search } = new URL(url);
  const query = search === ""
    ? ""
    : `?${createHash("md5").update(search).digest("hex").slice(0, 8)}`;
  return `${protocol}//${host}${pathname}${query}`;
}

/** A text with every URL in it as {@linkcode publicUrl} shows it. */
export function withPublicUrls(text: string): string {
  return text.replace(/\bhttps?:\/\/[^\s)"'<>]+/gi, publicUrl);
}
