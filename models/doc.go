// Package models holds the vision-language families as GoMLX graphs, and what
// surrounds them: configurations and checkpoints in the Hugging Face layout,
// prompts, rotary positions, batches, gradients and generation. Plain language
// models load too.
//
// The families are Qwen2-VL and LLaVA-OneVision, Qwen2 and Llama. What differs
// between them (config.json, names of tensors, vision tower, prompt) is one value
// per family; everything else is one code. The numbers of every step are compared
// with those of the public Hugging Face code.
//
// One definition of a block serves inference, calibration, gradients and
// training: its weights are inputs of the compiled graph, so one executable per
// shape runs every layer, quantized or not. The package knows no quantization
// method; it knows that a linear layer may have other weights and that its
// input may pass an [ActQuant].
//
// # Conventions
//
// Weights are [out, in], row-major, float32 in memory. Activations are [B, T, C]:
// B sequences padded on the right to T tokens, C channels. Rows of padding are
// computed and never read. Graphs contain no Slice or Pad where gradients
// flow, no fused operation and no half-precision arithmetic, so that they run on
// any GoMLX backend.
package models
