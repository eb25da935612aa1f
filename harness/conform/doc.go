// Package conform compares this program with fixture folders: tiny checkpoints in
// the Hugging Face layout with the numbers that the public modelling code computed
// for them, and tables of its image preprocessing.
//
// A model's folder holds its checkpoint, inputs*.safetensors and
// expected*.safetensors (a suffix such as _text_only or a prefix such as extra_
// makes further cases), tolerances.json, tokenizer_cases.json, chat_cases.json. A
// preprocessing folder holds tables.json and resize_cases.safetensors. Whatever such
// a file lists is compared, and what is not understood is an error: nothing is
// skipped.
package conform
