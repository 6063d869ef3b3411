import type { InputKind } from "../../errors.js";
import type { Explanation } from "./explanation.js";

/** The command line, or the caller of the library, asked for something that makes no sense. No file was looked at yet. */
export const USE: Readonly<Record<InputKind, Explanation>> = {
  "wrong-use": {
    title: "wrong use",
    meaning: "What was asked for makes no sense, in a way that has no kind of its own.",
    causes: ["an argument too many or too few", "a library object used after it was disposed of"],
    remedies: ["read the line after why:, it says what was got and what was wanted", "bitloom COMMAND --help"],
  },
  "unknown-command": {
    title: "unknown command",
    meaning: "The first word after bitloom is the name of a command, and there is none of this name.",
    causes: ["a spelling mistake", "a command of another version"],
    remedies: ["take the suggestion after try:", "bitloom --help lists all commands"],
  },
  "unknown-option": {
    title: "unknown option",
    meaning: "The command has no option of this name. Every command refuses what it does not know.",
    causes: ["a spelling mistake", "an option of another command", "a text that begins with a dash"],
    remedies: ["bitloom COMMAND --help lists its options", 'give such a text as --prompt="-5 degrees"'],
  },
  "missing-argument": {
    title: "something must be given and is not",
    meaning: "An argument, a required option, or the value of an option is missing.",
    causes: ["an option at the end of the line without its value", "a shell variable that is empty"],
    remedies: ["bitloom COMMAND --help marks what is required"],
  },
  "unknown-name": {
    title: "unknown name",
    meaning: "A scheme, number format, method, backend or option of a method is not registered under this name.",
    causes: ["a spelling mistake", "a name of another tool: Q4_K_M is a recipe of llama.cpp and no scheme"],
    remedies: ["take the suggestion after try:", "bitloom schemes, bitloom formats, bitloom methods list the names"],
  },
  "value-out-of-range": {
    title: "a value that the option does not take",
    meaning: "The value is no number, no whole number, outside the range, or not of the wanted form.",
    causes: ["a number below the least allowed one", "a decimal comma", "two values where one is wanted"],
    remedies: ["the line after why: says what is wanted"],
  },
  "options-disagree": {
    title: "options that do not go together",
    meaning: "Two options contradict each other, or one needs another that is not given.",
    causes: ["--to together with --recipe, which names its schemes itself", "--max-kl without --against"],
    remedies: ["leave one out, or add the one that is named"],
  },
  "wrong-recipe": {
    title: "not a recipe",
    meaning: "The file given with --recipe is not JSON, or not of the form that recipes have.",
    causes: ["a comma too many", "a misspelt field: unknown fields are refused", "a step of a later version"],
    remedies: ["docs/schemas/recipe.json is the form", "the line after why: names the field"],
  },
  "text-not-utf8": {
    title: "text that is not UTF-8",
    meaning: "Text files are read as UTF-8 and nothing is guessed: a wrong guess would change the measurement.",
    causes: ["a file in Latin-1 or UTF-16", "a binary file given as text", "a file cut inside a character"],
    remedies: ["convert it: iconv -f latin1 -t utf-8 FILE"],
  },
  "text-too-short": {
    title: "text that is too short",
    meaning: "An evaluation needs one token to start from and one to predict, a calibration one whole window.",
    causes: ["an empty file", "an empty pipe before --text -", "an empty --prompt"],
    remedies: ["a longer text", "for a calibration, a smaller window in the recipe"],
  },
  "context-full": {
    title: "the context is full",
    meaning: "Keys and values of all tokens so far are kept in a cache of fixed length, and it holds no more.",
    causes: ["a prompt that is longer than the model's context"],
    remedies: ["a shorter prompt", "a larger context, where the model was trained for one"],
  },
  "unknown-token": {
    title: "a token id outside the vocabulary",
    meaning: "Ids go from 0 to the size of the vocabulary less one.",
    causes: ["ids of another model's tokenizer", "a file that is no list of ids"],
    remedies: ["make the ids with bitloom tokenize and the same model"],
  },
  "output-is-input": {
    title: "the output would replace the input",
    meaning: "Inputs are never touched, so an output may neither be one of them nor a folder that holds one.",
    causes: ["the same path twice, perhaps through a symbolic link"],
    remedies: ["name another output"],
  },
  "output-name": {
    title: "a name that no output can have",
    meaning: "The ending of the output's name chooses the container, and this ending means none that can be written.",
    causes: ["a name ending in .safetensors: a model also needs its config.json, so a folder is written"],
    remedies: ["a name ending in .gguf, or a folder"],
  },
  "no-calibration-text": {
    title: "no text to calibrate with",
    meaning: "The method looks at activations, and those exist only while the model reads a text.",
    causes: ["--method gptq or imatrix, or a --transform, without --calibrate"],
    remedies: ["--calibrate FILE with text like the one that the model will read", "--method rtn or hqq need none"],
  },
  "shapes-disagree": {
    title: "shapes that do not fit each other",
    meaning: "An operation of the library was given arrays whose lengths contradict its shapes.",
    causes: ["rows and columns exchanged", "an array that is too short"],
    remedies: ["the line after why: names both"],
  },
  "unknown-tensor": {
    title: "no tensor of this name",
    meaning: "The model has no tensor that is called this.",
    causes: ["names differ between GGUF and safetensors", "a spelling mistake"],
    remedies: ["bitloom inspect MODEL lists all names"],
  },
};
