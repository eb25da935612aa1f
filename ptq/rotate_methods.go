package ptq

// quaRot rotates and rounds by GPTQ. Published for weights and activations of 4 bits.
// Deviations: steps are the format's, without a search for clipped ones, and activations
// are not clipped (the paper clips them at 0.9 of the largest); act-order and static groups
// as gptq; keys, values and queries stay as they are.
func quaRot() Method {
	m := gptq()
	m.Name, m.Title = "quarot", "QuaRot (GPTQ rounding)"
	m.Paper = "arXiv:2404.00456: Hadamard rotation, online where it cannot be folded; published for weights and activations"
	m.Rotate = RotateHadamard
	return m
}

// quaRotNearest is QuaRot with rounding to nearest, which looks at no sample.
func quaRotNearest() Method {
	m := roundToNearest()
	m.Name, m.Title = "quarot-rtn", "QuaRot (round to nearest)"
	m.Paper = "arXiv:2404.00456 with rounding to nearest"
	m.Rotate = RotateHadamard
	return m
}

// quaRotTLQ searches scales on a rotated model with TLQ's tokens. Only what norms feed can
// be scaled: behind an online transform there is nothing to fold factors into.
func quaRotTLQ() Method {
	m := tlq()
	m.Name, m.Title = "quarot-tlq", "TLQ on a rotated model (reconstruction)"
	m.Paper = "QuaRot, arXiv:2404.00456, with the reconstruction of arXiv:2602.07899"
	m.Rotate = RotateHadamard
	return m
}
