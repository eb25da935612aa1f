package eval

import (
	"fmt"
	"math"
)

// LogProb returns ln softmax(logits)[target] in nats, computed in float64.
// logits is [vocab], one position's scores. A target outside the vocabulary
// and a logit that is NaN or infinite are errors: they come from a broken
// model or tokenizer, and any average over them would hide it.
func LogProb(logits []float32, target int32) (float64, error) {
	if target < 0 || int(target) >= len(logits) {
		return 0, fmt.Errorf("eval: target token %d is outside the vocabulary of %d: the tokenizer and the model's output layer must belong together", target, len(logits))
	}
	lse, err := logSumExp(logits)
	if err != nil {
		return 0, err
	}
	return float64(logits[target]) - lse, nil
}

// KL returns the Kullback–Leibler divergence in nats between the next-token
// distributions of two models at one position, over the whole vocabulary:
//
//	KL(P ‖ Q) = Σ_i P_i (ln P_i − ln Q_i),  P = softmax(p), Q = softmax(q)
//
// p holds the unquantized model's logits, q the quantized one's, both [vocab].
// Everything runs in float64, summed in vocabulary order; identical logits
// give exactly 0, and a result below 0, which only rounding can produce, is
// returned as 0 (Gibbs' inequality).
func KL(p, q []float32) (float64, error) {
	if len(p) != len(q) {
		return 0, fmt.Errorf("eval: KL of %d against %d logits: both models must have the same vocabulary", len(p), len(q))
	}
	lp, err := logSumExp(p)
	if err != nil {
		return 0, err
	}
	lq, err := logSumExp(q)
	if err != nil {
		return 0, err
	}
	var sum float64
	for i := range p {
		logP := float64(p[i]) - lp
		logQ := float64(q[i]) - lq
		sum += math.Exp(logP) * (logP - logQ)
	}
	return max(sum, 0), nil
}

// Argmax returns the index of the largest logit; ties go to the lowest index,
// −1 stands for an empty slice.
func Argmax(logits []float32) int {
	best := -1
	for i, x := range logits {
		if best < 0 || x > logits[best] {
			best = i
		}
	}
	return best
}

// logSumExp returns ln Σ exp(x_i), with the maximum taken out first so that
// nothing overflows.
func logSumExp(x []float32) (float64, error) {
	if len(x) == 0 {
		return 0, fmt.Errorf("eval: no logits at a scored position: expected one per vocabulary entry")
	}
	largest := math.Inf(-1)
	for i, v := range x {
		f := float64(v)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("eval: logit %d of %d is %v, expected a finite number: weights or activations have overflowed", i, len(x), f)
		}
		largest = max(largest, f)
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - largest)
	}
	return largest + math.Log(sum), nil
}
