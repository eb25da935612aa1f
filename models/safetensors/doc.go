// Package safetensors reads and writes the safetensors checkpoint format
// (https://github.com/huggingface/safetensors): a little-endian uint64 header
// length, a JSON header that names every tensor's type, shape and byte range,
// then the raw little-endian data without holes.
//
// [Open] and [OpenDir] map files into memory where the system can, so that a
// checkpoint larger than memory is read tensor by tensor. Nothing in a header is
// believed: every range, shape and type is checked against the file before the
// first tensor is handed out, and each fault is one error that names the file and
// the tensor.
//
// [Write] is deterministic: the same tensors and metadata give the same bytes,
// whatever their order in the call.
package safetensors
