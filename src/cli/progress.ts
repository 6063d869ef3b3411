/**
 * How far a long job is, on standard error. On a terminal one bar, redrawn at most ten times a second (also from inside
 * a loop that never lets timers run); elsewhere a plain line each tenth of the way, at most one every two seconds.
 */
import { createRequire } from "node:module";
import type { SingleBar } from "cli-progress";
import { duration } from "./numbers.js";
import type { ProgressKind } from "./terminal.js";

export interface Progress {
  /** A new job of `total` steps; ends the one before. */
  start(label: string, total: number): void;
  /** `done` steps of the job are finished. */
  update(done: number, note?: string): void;
  /** Takes the bar off the screen. */
  stop(): void;
}

const SILENT: Progress = { start() {}, update() {}, stop() {} };
const BAR_WIDTH = 24;
const LINE_SECONDS = 2;

export function progress(kind: ProgressKind, stream: NodeJS.WriteStream, now: () => number = Date.now): Progress {
  if (kind === "none") return SILENT;
  return kind === "bar" ? barProgress(stream) : lineProgress(stream, now);
}

/** Seconds until the end if it goes on as it went so far; undefined before anything is done. */
export function secondsLeft(done: number, total: number, elapsedSeconds: number): number | undefined {
  return done > 0 ? (elapsedSeconds * (total - done)) / done : undefined;
}

const leftText = (seconds: number | undefined) => (seconds === undefined ? "" : `${duration(seconds)} left`);

interface BarState {
  readonly progress: number;
  readonly value: number;
  readonly total: number;
  readonly startTime: number;
  readonly maxWidth: number;
}

/** One line without colour: the library cuts what is too long by characters, escape sequences included. */
function barLine(state: BarState, label: string, note: string): string {
  const full = Math.round(BAR_WIDTH * state.progress);
  const seconds = secondsLeft(state.value, state.total, (Date.now() - state.startTime) / 1000);
  const percentage = `${Math.floor(100 * state.progress)} %`.padStart(5);
  const parts = [`${label} ${"█".repeat(full)}${"░".repeat(BAR_WIDTH - full)}${percentage}`, leftText(seconds), note];
  return parts
    .filter((part) => part !== "")
    .join("  ")
    .slice(0, state.maxWidth - 1);
}

function barProgress(stream: NodeJS.WriteStream): Progress {
  // Loaded where a bar is drawn: a first token off a terminal does not wait for it.
  const library = createRequire(import.meta.url)("cli-progress") as typeof import("cli-progress");
  let bar: SingleBar | undefined;
  let label = "";
  const stop = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    stop,
    start(name, total) {
      stop();
      label = name;
      bar = new library.SingleBar({
        stream,
        fps: 10,
        clearOnComplete: true,
        // The terminal's own state is left alone: a signal may end the process before it could be restored.
        hideCursor: false,
        linewrap: true,
        format: (_options, state, payload) => barLine(state as BarState, label, payload.note),
      });
      bar.start(Math.max(1, total), 0, { note: "" });
    },
    update(done, note = "") {
      bar?.update(done, { note });
    },
  };
}

function lineProgress(stream: NodeJS.WriteStream, now: () => number): Progress {
  let job = { label: "", total: 1, begin: 0, tenth: 0, printed: 0 };
  return {
    stop() {},
    start(label, total) {
      job = { label, total: Math.max(1, total), begin: now(), tenth: 0, printed: now() };
    },
    update(done) {
      const tenth = Math.floor((10 * done) / job.total);
      const time = now();
      if (tenth <= job.tenth || time - job.printed < 1000 * LINE_SECONDS) return;
      job = { ...job, tenth, printed: time };
      const seconds = secondsLeft(done, job.total, (time - job.begin) / 1000);
      stream.write(`${job.label}: ${10 * tenth} %, ${leftText(seconds)}\n`);
    },
  };
}
