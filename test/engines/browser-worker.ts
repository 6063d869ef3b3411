/** The worker of the test's page: does what it is asked, and sends the outcome to the test's server. */
import { type BrowserWork, work } from "./browser-work.js";

async function answer(asked: BrowserWork): Promise<unknown> {
  try {
    return { outcome: await work(asked, await (await fetch("/model.gguf")).blob()) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

const asked = JSON.parse(new URL(import.meta.url).searchParams.get("asked") ?? "") as BrowserWork;
await fetch("/outcome", { method: "POST", body: JSON.stringify(await answer(asked)) });
