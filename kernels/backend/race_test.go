//go:build race

package backend_test

// With the race detector come checks of pointers, which GoMLX's own backend does
// not pass.
const raceDetector = true
