//go:build !(cgo && linux)

package devices

// addAccelerators says that this build cannot ask.
func addAccelerators(r *Report) {
	r.Note = "accelerators: not in this build (NVML needs Linux and a build with cgo: a C compiler and CGO_ENABLED=1)"
}
