#!/usr/bin/env node
/** The `bitloom` command: the process around it, and its exit code. */
import { readFileSync } from "node:fs";
import { commands } from "./index.js";
import { runCli } from "./program.js";

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

// `bitloom inspect model.gguf | head` closes the pipe early; nobody is left to tell. Other errors reach who wrote.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
  });
}

process.exitCode = await runCli(process.argv.slice(2), commands.entries, version);
