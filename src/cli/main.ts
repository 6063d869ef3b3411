#!/usr/bin/env node
/** The `bitloom` command: the process around it, and its exit code. */
import { readFileSync } from "node:fs";
import nodeModule from "node:module";

// Compiled code is kept between runs where Node can (from 22.1 on); it must be told before the modules are loaded.
(nodeModule as { enableCompileCache?: () => unknown }).enableCompileCache?.();
const [{ commandsFor }, { runCli }] = await Promise.all([import("./lazy.js"), import("./program.js")]);

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

// `bitloom inspect model.gguf | head` closes the pipe early; nobody is left to tell. Other errors reach who wrote.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
  });
}

const argv = process.argv.slice(2);
process.exitCode = await runCli(argv, await commandsFor(argv), version);
