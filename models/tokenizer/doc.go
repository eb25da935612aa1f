// Package tokenizer turns text into token ids and back: byte-level byte-pair
// encoding as a Hugging Face tokenizer.json of the Qwen2 kind describes it
// (also with Llama 3's pattern, which takes digits by threes).
//
// [Tokenizer.Encode] goes through the steps of the public tokenizers library:
//
//  1. added tokens such as <|im_end|> are cut out of the raw text, leftmost first
//     and of several at one place the longest;
//  2. what lies between is brought into Unicode normal form C;
//  3. the split pattern cuts it into pieces ([Tokenizer.Split]);
//  4. a piece's bytes become one token each, then the pair whose merge comes first
//     in the list of merges is joined, the leftmost first, until none is left.
//
// No special tokens are added around a text: a chat template writes them.
//
// Tokens are written with one printable character per byte, as GPT-2 introduced
// it: a space is Ġ, a newline Ċ. [Tokenizer.ID] and [Tokenizer.Token] use that
// form.
//
// [Train] learns such a tokenizer from text, [Tokenizer.JSON] writes it so that
// the Hugging Face libraries read it.
package tokenizer
