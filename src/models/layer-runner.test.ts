import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { createBackend } from "../kernels/index.js";
import { randomUniform } from "../random.js";
import { architectureOf, createLayerRunner, describeModel, type HaltedText, readWeights } from "./index.js";

const golden = new URL("../../../src/models/golden/", import.meta.url);
const backend = await createBackend("wasm");
after(() => backend.dispose());

for (const model of ["llama-biased", "bert"]) {
  test(`${model}: texts that are halted between the stages of a layer come out of it as they do at once`, async () => {
    const checkpoint = await openCheckpoint(new URL(model, golden).pathname);
    const architecture = architectureOf(checkpoint);
    const { config, specs } = await describeModel(checkpoint, architecture);
    const runner = createLayerRunner({ backend, architecture, config, window: 9 });
    const weights = await readWeights(
      checkpoint,
      specs.filter(({ role }) => role.startsWith("layers.0.")),
    );
    const loaded = runner.load(0, weights);
    const states = [9, 4].map((tokens, text) =>
      Float32Array.from({ length: tokens * config.width }, (_, i) => randomUniform(3, text, i) - 0.5),
    );
    const seen: string[] = [];
    const inputs = new Map<string, Float32Array>();
    const wanted = states.map((hidden, text) =>
      loaded.run(hidden, (role, x) => inputs.set(`${text} ${role}`, x.data().slice())),
    );
    const texts = states.map((hidden): HaltedText => ({ hidden: hidden.slice() }));
    for (const stage of architecture.parts.stages.keys()) {
      for (const [text, halted] of texts.entries()) {
        loaded.runStage(stage, halted, (role, x, tokens) => {
          assert.equal(tokens, states[text].length / config.width);
          assert.deepEqual(x.data(), inputs.get(`${text} ${role}`), `input of ${role}, text ${text}`);
          seen.push(`${text} ${role}`);
        });
      }
    }
    assert.deepEqual(
      texts.map(({ hidden }) => hidden),
      wanted,
    );
    const firsts = architecture.parts.linears(config).map(({ roles }) => roles[0]);
    assert.deepEqual(
      seen,
      firsts.flatMap((role) => [`0 ${role}`, `1 ${role}`]),
    );
    loaded.dispose();
    runner.dispose();
    await checkpoint.close();
  });
}
