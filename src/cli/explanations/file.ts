import type { FileKind } from "../../errors.js";
import type { Explanation } from "./explanation.js";

const AGAIN = "download or convert the file again, and compare its size and SHA-256 with the original's";

/** A file does not hold what it must. It is never repaired by guessing, and nothing is allocated on its word. */
export const FILE: Readonly<Record<FileKind, Explanation>> = {
  "bad-file": {
    title: "a bad input file",
    meaning: "A file does not hold what it must, in a way that has no kind of its own.",
    causes: ["damage in transfer", "a writer with a fault"],
    remedies: [AGAIN],
  },
  "missing-file": {
    title: "no such file",
    meaning: "There is nothing at this path, or something that is no file where one is wanted.",
    causes: ["a spelling mistake", "a path relative to another folder", "a folder where a file is wanted"],
    remedies: ["check the path: it is taken from where the command runs", "the bundled model is called demo"],
  },
  "not-a-model": {
    title: "no model that can be read",
    meaning: "The content, not the name, tells what a file is, and this is neither GGUF nor safetensors.",
    causes: ["an empty or half downloaded file", "a folder without model.safetensors", "a file of another kind"],
    remedies: ["name a .gguf file, or a folder with config.json, model.safetensors and tokenizer.json"],
  },
  "truncated-file": {
    title: "a file that ends too early",
    meaning: "The file's own header says that more bytes follow than there are.",
    causes: ["a download that was broken off", "a full disk when it was written", "a writer still at work"],
    remedies: [AGAIN],
  },
  "bad-header": {
    title: "a header that cannot be right",
    meaning: "Lengths, counts, types or texts in the header contradict the format's rules or the file's size.",
    causes: ["damage in transfer", "a file edited by hand", "a file made to do harm"],
    remedies: [AGAIN],
  },
  "overlapping-tensors": {
    title: "two tensors share bytes",
    meaning: "Every tensor has its own range of bytes; ranges that overlap mean that at least one offset is wrong.",
    causes: ["a writer with a fault", "a file made to do harm"],
    remedies: [AGAIN],
  },
  "tensor-outside-file": {
    title: "a tensor outside the file, or bytes outside all tensors",
    meaning: "Offsets and sizes of the tensors must lie inside the file, and in safetensors cover it exactly.",
    causes: ["a file that was cut", "a file that something was appended to"],
    remedies: [AGAIN],
  },
  "missing-tensor": {
    title: "a tensor is missing",
    meaning: "The configuration implies a tensor that the file does not hold, under none of its known names.",
    causes: ["a shard is missing", "config.json of another model", "an adapter (LoRA) in place of a whole model"],
    remedies: ["bitloom inspect MODEL lists what is there", "put all files of the model into one folder"],
  },
  "wrong-shape": {
    title: "a tensor of the wrong shape",
    meaning: "Its shape contradicts the configuration, or its own number of bytes.",
    causes: ["config.json of another model", "a damaged header"],
    remedies: ["compare why: with config.json", AGAIN],
  },
  "duplicate-tensor": {
    title: "a tensor is there twice",
    meaning: "Two tensors have the same name, so that it is not known which one is meant.",
    causes: ["shards of two models in one folder", "a writer with a fault"],
    remedies: ["keep the files of one model only in the folder"],
  },
  "missing-shard": {
    title: "index and shards do not fit",
    meaning: "model.safetensors.index.json names files or tensors that are not there, or is damaged itself.",
    causes: ["a shard was not downloaded", "the index of another model"],
    remedies: ["download the files that the index names into the same folder"],
  },
  "bad-json": {
    title: "a JSON file that cannot be read",
    meaning: "The file is not JSON, not UTF-8, or larger or deeper than any such file has reason to be.",
    causes: ["an error page saved under the file's name", "a Git LFS pointer", "a comma too many"],
    remedies: ["look at the place after -->", AGAIN],
  },
  "bad-config": {
    title: "a configuration that cannot be right",
    meaning: "A value that describes the model is missing, of the wrong type, or contradicts another one.",
    causes: ["config.json of another model", "a file edited by hand"],
    remedies: ["the lines after --> and why: name the value"],
  },
  "damaged-tokenizer": {
    title: "a damaged tokenizer",
    meaning: "Vocabulary, merges or special tokens of the model contradict each other or lack something.",
    causes: ["a file edited by hand", "a conversion that left something out"],
    remedies: ["the line after --> names the key", "take tokenizer.json from the original model"],
  },
  "missing-tokenizer": {
    title: "no tokenizer",
    meaning: "The folder has weights and no tokenizer.json, without which no text can be read or written.",
    causes: ["only the weights were downloaded", "an old model with tokenizer.model alone"],
    remedies: ["put tokenizer.json beside the weights", "convert tokenizer.model with the transformers library"],
  },
  "vocabulary-mismatch": {
    title: "vocabularies that do not belong together",
    meaning:
      "The tokenizer makes ids that the model has no row for, or two models to be compared differ in their tokens.",
    causes: ["tokenizer.json of another model", "--against a model of another family"],
    remedies: ["compare models with the same tokenizer only: their losses mean different things otherwise"],
  },
  "damaged-scales": {
    title: "scales of a quantized tensor are missing or wrong",
    meaning: "A quantized tensor is stored as several arrays that are of no use without each other.",
    causes: ["a folder that was changed by another tool"],
    remedies: ["quantize again"],
  },
};
