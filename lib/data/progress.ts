/** What is under way with data, for a progress bar. */
export interface DataProgress {
  /** What is being done. */
  stage: "download" | "verify" | "unpack" | "read" | "find" | "prepare";
  /** The file, folder or URL. */
  source: string;
  /** Bytes done; pictures where something is found or prepared. */
  done: number;
  /** Bytes or pictures in all; null where unknown. */
  total: number | null;
  /** Why the connection is being made again, where it is. */
  retry?: string;
  /** Pictures prepared a second. */
  perSecond?: number;
  /** Estimated seconds until all pictures are prepared; null while there is nothing to go by. */
  secondsLeft?: number | null;
}
