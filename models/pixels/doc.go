// Package pixels turns pictures into the numbers that a vision tower reads, as
// the Hugging Face image processors do.
//
// The processors followed are the slow ones, which resize with Pillow. Where they
// work in bytes this package gives the same bytes; where they work in float32 it
// does the same operations in the same order.
//
// The parts are: [ToRGB] for any Go picture, [ResizeBicubic] as Pillow resizes,
// [Normalization] for rescaling and normalizing, and on top of them one [Processor]
// per family: [Config] for Qwen2-VL, [AnyRes] for LLaVA-OneVision.
//
// Decoding files is the caller's work. Go's JPEG decoder takes the nearest colour
// sample where libjpeg, which Pillow uses, interpolates between them, so a JPEG
// with subsampled colour differs by some grey levels before this package sees it.
package pixels
