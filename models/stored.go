package models

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// storedSpecs lists what stored yields, without data.
func (m *Model) storedSpecs(dtype string) []safetensors.Spec {
	var list []safetensors.Spec
	for p := range paramShapes(m.Config) {
		if at := m.Config.arch().place(m.Config, p); at.part == 0 {
			list = append(list, safetensors.Spec{Name: at.name, DType: dtype, Shape: slices.Clone(at.shape)})
		}
	}
	return list
}

// storedPart is a run of a stored tensor's values, beginning with value from; Shape is the whole tensor's.
type storedPart struct {
	Param
	from int
}

// storedParts yields the stored tensors in order, those of the checkpoint in runs of at most n
// values.
func (m *Model) storedParts(n int) iter.Seq2[storedPart, error] {
	return func(yield func(storedPart, error) bool) {
		if m.file != nil && m.layers == nil && m.source == nil && m.edit == nil {
			m.fileParts(n, yield)
			return
		}
		for p, err := range m.stored() {
			if !yield(storedPart{Param: p}, err) || err != nil {
				return
			}
		}
	}
}

// fileParts are the parts of a model that is the checkpoint itself.
func (m *Model) fileParts(n int, yield func(storedPart, error) bool) {
	specs := m.storedSpecs("")
	slices.SortFunc(specs, func(a, b safetensors.Spec) int { return strings.Compare(a.Name, b.Name) })
	buf := make([]float32, n)
	for _, s := range specs {
		t, err := m.file.Tensor(m.storedName(s.Name))
		if err != nil {
			err = fmt.Errorf("models: %s: %w", m.Dir, err)
		}
		for from := 0; err == nil && (from < t.Len() || from == 0); from += n {
			part := buf[:min(n, t.Len()-from)]
			if err = m.read(t, part, from); err == nil && !yield(storedPart{Param{s.Name, s.Shape, part}, from}, nil) {
				return
			}
		}
		if err != nil {
			yield(storedPart{}, err)
			return
		}
	}
}
