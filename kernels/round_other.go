//go:build !amd64

package kernels

func absMax(w []float32) float32 { return absMaxGo(w) }

func minMax(w []float32) (low, top float32) { return minMaxGo(w, w[0], w[0]) }

func roundSymmetricTo(dst, w []float32, s, low, high float32) {
	roundSymmetricGo(dst, w, s, low, high)
}

func roundAsymmetricTo(dst, w []float32, s, z, high float32) {
	roundAsymmetricGo(dst, w, s, z, high)
}
