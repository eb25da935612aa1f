package algorithms

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// rotationSet is cases.json of the Hadamard and rotation fixtures.
type rotationSet struct {
	Transforms []struct {
		N, K  int
		Power int `json:"power_of_two_factor"`
	}
	Model struct {
		Config       toyConfig
		HeadsFactor  *int `json:"heads_factor"`
		HiddenFactor *int `json:"hidden_factor"`
		InterFactor  *int `json:"inter_factor"`
	}
	Sizes map[string]*int `json:"factor_chosen_for_real_sizes"`
	Heads map[string]*int `json:"factor_chosen_for_head_counts"`
}

// Tolerances of the rotation fixtures. Transforms are float64; weights are stored as
// float32, and the model runs in it.
var (
	transform64 = tolerance{largest, 1e-12}
	rotated32   = tolerance{largest, 1e-6}
	inputs32    = tolerance{largest, 1e-5}
)

// unknownOrders are bases that QuaRot stores and Paley's construction does not give;
// the package takes twice the order there.
var unknownOrders = map[int]bool{156: true, 172: true}

// quaRot compares transforms, the matrices they are made of, and a rotated model.
func (f *folder) quaRot() error {
	var set rotationSet
	if err := f.parse(&set); err != nil {
		return err
	}
	for _, c := range set.Transforms {
		f.of = fmt.Sprintf("%d = %d x %d", c.N, c.K, c.Power)
		if err := f.transform(c.N, c.K, c.Power); err != nil {
			f.fail("transform", err)
		}
	}
	f.of = "random"
	for _, name := range f.file.Names() {
		size, ok := strings.CutPrefix(name, "random")
		if size, rest, cut := strings.Cut(size, "/"); ok && cut && rest == "signs" {
			if err := f.randomHadamard(size); err != nil {
				f.fail(name, err)
			}
		}
		if order, ok := strings.CutPrefix(name, "base/"); ok {
			if err := f.baseMatrix(name, order); err != nil {
				f.fail(name, err)
			}
		}
	}
	f.of = "factors"
	f.factors(set.Sizes)
	f.factors(set.Heads)
	f.of = "model"
	return f.rotatedModel(set)
}

// transform compares the transform of n columns, its inverse and its signs. Where the
// package would choose another base for n, the expected values have the name of both factors.
func (f *folder) transform(n, base, power int) error {
	h, err := kernels.NewHadamard(n)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("had%d", n)
	x, err := f.tensor(name + "/x")
	if err != nil {
		return err
	}
	if other := fmt.Sprintf("%s_as_%dx%d", name, base, power); f.file.Has(other + "/y") {
		if h, err = kernels.NewHadamardBase(n, base); err != nil {
			return err
		}
		name = other
	}
	f.number("K", float64(h.Base()), float64(base), same)
	if len(x)%n != 0 {
		return fmt.Errorf("%d values; expected rows of %d", len(x), n)
	}
	y := append([]float64(nil), x...)
	h.ApplyWide(y, 1)
	compare(f, name+"/y", y, transform64)
	if f.file.Has(name + "/y_transposed") {
		y = append(y[:0], x...)
		h.InverseWide(y, 1)
		compare(f, name+"/y_transposed", y, transform64)
	}
	if f.file.Has(name + "/sign_matrix") {
		compare(f, name+"/sign_matrix", signs(hadamardMatrix(h)), same)
	}
	return nil
}

// hadamardMatrix is M: row i is what the i-th unit vector becomes.
func hadamardMatrix(h *kernels.Hadamard) []float64 {
	n := h.Len()
	m := make([]float64, n*n)
	for i := range n {
		m[i*n+i] = 1
	}
	h.ApplyWide(m, 1)
	return m
}

func signs(m []float64) []float64 {
	out := make([]float64, len(m))
	for i, v := range m {
		out[i] = math.Copysign(1, v)
	}
	return out
}

// baseMatrix compares B, which is Mᵀ·√n.
func (f *folder) baseMatrix(name, order string) error {
	k, err := strconv.Atoi(order)
	if err != nil {
		return err
	}
	h, err := kernels.NewHadamardBase(k, k)
	if err != nil {
		return err
	}
	b := signs(hadamardMatrix(h))
	for i := range k {
		for j := range i {
			b[i*k+j], b[j*k+i] = b[j*k+i], b[i*k+j]
		}
	}
	compare(f, name, b, same)
	return nil
}

// randomHadamard compares diag(signs)·M.
func (f *folder) randomHadamard(size string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	h, err := kernels.NewHadamard(n)
	if err != nil {
		return err
	}
	flips, err := f.tensor("random" + size + "/signs")
	if err != nil {
		return err
	}
	if len(flips) != n {
		return fmt.Errorf("%d signs; expected %d", len(flips), n)
	}
	q := hadamardMatrix(h)
	for i := range q {
		q[i] *= flips[i/n]
	}
	compare(f, "random"+size+"/Q", q, transform64)
	return nil
}

// factors compares the order of the base matrix that sizes are given. Sizes that QuaRot
// refuses are transformed here, so nothing is expected of them.
func (f *folder) factors(chosen map[string]*int) {
	for _, size := range slices.Sorted(maps.Keys(chosen)) {
		want := chosen[size]
		n, err := strconv.Atoi(size)
		if err != nil {
			f.fail(size, err)
			continue
		}
		if want == nil || unknownOrders[*want] {
			continue
		}
		h, err := kernels.NewHadamard(n)
		if err != nil {
			f.fail("K of "+size, err)
			continue
		}
		f.number("K of "+size, float64(h.Base()), float64(*want), same)
	}
}

// rotatedModel rotates the toy model with the fixture's signs and runs both.
func (f *folder) rotatedModel(set rotationSet) error {
	c := set.Model.Config
	f.factors(map[string]*int{
		strconv.Itoa(c.Heads): set.Model.HeadsFactor, strconv.Itoa(c.Hidden): set.Model.HiddenFactor, strconv.Itoa(c.Inter): set.Model.InterFactor,
	})
	t, err := f.toyAt("", "model/original/", c)
	if err != nil {
		return err
	}
	flips, err := f.streamSigns(c.Hidden)
	if err != nil {
		return err
	}
	r, err := ptq.RotationOf(t.model.Config, ptq.RotateHadamard, flips)
	if err != nil {
		return err
	}
	rotated := t.model.Edited(r.Edit())
	if err := f.rotatedWeights(rotated); err != nil {
		return err
	}
	in, err := f.prompts()
	if err != nil {
		return err
	}
	want, err := f.tensor("model/logits")
	if err != nil {
		return err
	}
	before, err := t.allLogits(in, t.model)
	if err != nil {
		return err
	}
	f.values("model/logits (unrotated)", wide(before), want, logits32, nil)
	after, err := t.allLogits(in, rotated)
	if err != nil {
		return err
	}
	compare(f, "model/logits", after, logits32)
	return f.onlineInputs(t, in, rotated)
}

// prompts reads "model/input_ids".
func (f *folder) prompts() ([]*models.Sequence, error) {
	shape := f.shape("model/input_ids")
	ids, err := f.ints("model/input_ids")
	if err != nil {
		return nil, err
	}
	if len(shape) != 2 || shape[1] == 0 {
		return nil, fmt.Errorf("model/input_ids has shape %v; expected [samples, tokens]", shape)
	}
	var list []*models.Sequence
	for at := 0; at < len(ids); at += shape[1] {
		row := make([]int32, shape[1])
		for p := range row {
			row[p] = int32(ids[at+p])
		}
		s := models.TextSequence(row)
		s.Scored = nil
		for p := range row {
			s.Scored = append(s.Scored, models.Scored{Pos: int32(p)})
		}
		list = append(list, s)
	}
	return list, nil
}

// streamSigns recovers the signs of Q = diag(signs)·M and compares the rest of it.
func (f *folder) streamSigns(hidden int) ([]float64, error) {
	h, err := kernels.NewHadamard(hidden)
	if err != nil {
		return nil, err
	}
	want, err := f.tensor("model/Q")
	if err != nil {
		return nil, err
	}
	if len(want) != hidden*hidden {
		return nil, fmt.Errorf("model/Q has %d values; expected [%d, %d]", len(want), hidden, hidden)
	}
	q, flips := hadamardMatrix(h), make([]float64, hidden)
	for i := range flips {
		flips[i] = math.Copysign(1, want[i*hidden]*q[i*hidden])
	}
	for i := range q {
		q[i] *= flips[i/hidden]
	}
	compare(f, "model/Q", q, transform64)
	return flips, nil
}

// rotatedWeights compares every stored weight of the rotated model; the gains of its norms,
// which are not stored, must be 1.
func (f *folder) rotatedWeights(m *models.Model) error {
	w, err := m.Weights()
	if err != nil {
		return err
	}
	for _, p := range w.Params(m.Config) {
		name := "model/rotated/" + strings.TrimPrefix(p.Name, "model.")
		if strings.HasSuffix(p.Name, "norm.weight") && !f.file.Has(name) {
			unit := make([]float64, len(p.Data))
			for i := range unit {
				unit[i] = 1
			}
			f.values(name, wide(p.Data), unit, same, nil)
			continue
		}
		compare(f, name, p.Data, rotated32)
	}
	return nil
}

// allLogits are the logits of all tokens of all samples, run as m.
func (t *toy) allLogits(in []*models.Sequence, m *models.Model) ([]float32, error) {
	var flat []float32
	for _, s := range in {
		r := t.runner.With(m)
		batches, err := r.Embed([]*models.Sequence{s})
		if err != nil {
			return nil, err
		}
		x, err := r.Forward(batches[0], nil)
		if err != nil {
			return nil, err
		}
		rows, err := r.Logits(batches[0], x)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			flat = append(flat, row...)
		}
	}
	return flat, nil
}

// onlineInputs compares what o_proj and down_proj of the first layer read, before and
// behind the online transforms.
func (f *folder) onlineInputs(t *toy, in []*models.Sequence, rotated *models.Model) error {
	for _, part := range []struct {
		when   string
		online models.OnlineHadamard
		sites  []models.Site
	}{
		{"before", models.OnlineHadamard{Down: true}, []models.Site{models.O}},
		{"before", models.OnlineHadamard{Heads: true}, []models.Site{models.Down}},
		{"after", models.OnlineHadamard{Heads: true, Down: true}, []models.Site{models.O, models.Down}},
	} {
		config := *rotated.Config
		config.Text.Online = part.online
		m := rotated.Edited(models.Edit{Config: &config})
		r := t.runner.With(m)
		batches, err := r.Embed(in[:1])
		if err != nil {
			return err
		}
		l, err := m.Layer(0)
		if err != nil {
			return err
		}
		b := batches[0]
		res, err := r.Block(b, b.X, l, models.BlockOptions{Taps: true})
		if err != nil {
			return err
		}
		for _, site := range part.sites {
			x := res.Inputs[site]
			x = x[:len(x)/(b.B*b.T)*in[0].Len()]
			compare(f, fmt.Sprintf("model/layer0_%s_proj_input_%s_online", site, part.when), x, inputs32)
		}
	}
	return nil
}
