import type { UnsupportedKind } from "../../errors.js";
import type { Explanation } from "./explanation.js";

/** Nothing is wrong with the input; this version cannot handle it, and says so before it would do it wrongly. */
export const UNSUPPORTED: Readonly<Record<UnsupportedKind, Explanation>> = {
  "not-supported": {
    title: "not supported",
    meaning: "This version cannot do it, in a way that has no kind of its own.",
    causes: ["a model or file with a feature that came later"],
    remedies: ["a newer version", "read the line after try:"],
  },
  "unsupported-architecture": {
    title: "unsupported architecture",
    meaning: "The model's layers are arranged in a way that no registered architecture describes.",
    causes: ["a model outside the families that this version runs"],
    remedies: ["bitloom inspect still lists its tensors", "CONTRIBUTING.md says how to add an architecture"],
  },
  "foreign-file": {
    title: "a file of another kind",
    meaning: "The first bytes are those of a known format that is neither GGUF nor safetensors.",
    causes: ["PyTorch's .bin or .pt, which can run code when opened", "an archive", "a web page or a Git LFS pointer"],
    remedies: ["the line after try: says how to convert it"],
  },
  "unsupported-version": {
    title: "a form of the file that is not read",
    meaning: "The container is known, but this version or variant of it is not read.",
    causes: ["GGUF version 1 or big-endian", "a model split over several GGUF files", "a folder of a later Bitloom"],
    remedies: ["convert again with a current tool", "merge the parts: llama-gguf-split --merge"],
  },
  "wrong-dtype": {
    title: "a type of tensor that cannot be used",
    meaning: "The tensor's type has no scheme here, or cannot serve as the weight that it is.",
    causes: ["a GGUF type that this version does not decode", "integer or complex tensors among weights"],
    remedies: ["take the model in F16, BF16 or Q8_0", "bitloom inspect MODEL shows the types"],
  },
  "scheme-does-not-fit": {
    title: "a scheme that the container or the shape does not allow",
    meaning: "Blocks must divide the last dimension, and a container holds only the schemes that it has types for.",
    causes: ["a folder's scheme in a .gguf file", "rows that are no multiple of the block (32, for NVFP4 16)"],
    remedies: [
      "bitloom schemes says which container holds what",
      "another scheme for the tensors in the way: --tensor-type 'PATTERN=f16'",
      "a folder in place of a .gguf file",
    ],
  },
  "unsupported-feature": {
    title: "a feature of the model that is not supported",
    meaning: "The architecture is known, but the configuration switches something on that would change the numbers.",
    causes: ["a kind of rotary scaling, activation or attention that is not implemented"],
    remedies: ["the lines after --> and why: name the setting"],
  },
  "unsupported-tokenizer": {
    title: "a tokenizer that is not supported",
    meaning: "It would cut text into other tokens than the original, so it is refused.",
    causes: ["a model type other than byte pair", "a pre-tokenizer or normalizer that is not known"],
    remedies: ["a newer version", "write a folder in place of GGUF, if only GGUF cannot say it"],
  },
  "too-large": {
    title: "too large",
    meaning: "A limit that guards memory: of WebAssembly (4 GiB), of one array, or of a header.",
    causes: ["a model that does not fit", "a long context, whose cache grows with it", "a header made to do harm"],
    remedies: ["a scheme with fewer bits", "a shorter context", "--backend reference, slower and without this limit"],
  },
  "no-engine-feature": {
    title: "the engine lacks something",
    meaning: "The JavaScript engine does not have what the backend needs.",
    causes: ["an old Node, or WebAssembly switched off"],
    remedies: ["Node 20 or newer", "--backend reference", "bitloom doctor says what there is"],
  },
};
