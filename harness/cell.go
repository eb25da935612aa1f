package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/internal/nearest"
	"github.com/tlqlab/tlqlab/ptq"
)

// Only narrows the Spec to one cell of its grid, named as [Record.Cell] names
// it: "zoo:qwen2vl-nano w4a8 tlq seed 0". Calibration samples, questions and
// statistics stay, so the cell's record has the same weights and scores. The
// unquantized model's cell, "zoo:qwen2vl-nano fp", belongs to every run and is
// not a choice. An unknown name's error shows the nearest.
func (s Spec) Only(cell string) (Spec, error) {
	kinds := s.Outliers
	if len(kinds) == 0 {
		kinds = []string{noOutliers}
	}
	var names []string
	for _, model := range s.Models {
		for _, format := range s.Formats {
			f, err := ptq.ParseFormat(format)
			if err != nil {
				return s, err
			}
			for _, ref := range s.Methods {
				for _, kind := range kinds {
					o, err := ptq.ParseOutliers(kind)
					if err != nil {
						return s, err
					}
					for _, seed := range s.Seeds {
						r := Record{Model: model, Format: f.String(), Outliers: o.String(), Method: ref.ID(), Seed: seed}
						if r.Cell() != cell {
							names = append(names, r.Cell())
							continue
						}
						s.Models, s.Formats, s.Methods, s.Seeds = []string{model}, []string{format}, []MethodRef{ref}, []uint64{seed}
						if len(s.Outliers) > 0 {
							s.Outliers = []string{kind}
						}
						return s, nil
					}
				}
			}
		}
	}
	text := fmt.Sprintf("harness: spec %s has no cell %q: expected one of %d", s.Name, cell, len(names))
	if near := nearest.Name(cell, names); near != "" {
		return s, fmt.Errorf("%s (did you mean %q?)", text, near)
	}
	if len(names) > 0 {
		text += fmt.Sprintf(", such as %q", names[0])
	}
	return s, fmt.Errorf("%s", text)
}
