package harness

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/ptq"
)

// ClaimsSpec is an experiment that decides claims: which method is better than which
// other, in which setting, with the calibration seed as a unit of its own. It asks
// every cell the same questions, or has it predict the same token streams, and keeps KL,
// NLL and accuracy of each alone, so that hundreds of cells fit where [Plan] would write a
// report on each.
type ClaimsSpec struct {
	Name     string         `json:"name"`
	Models   []string       `json:"models"`
	Scales   []string       `json:"scales,omitempty"` // where Models names none: the zoo's models of these sizes
	Settings []ClaimSetting `json:"settings"`
	Methods  []MethodRef    `json:"methods"`
	Families []ClaimFamily  `json:"families"`
	Prompts  Prompts        `json:"prompts,omitzero"` // with their choices; with Spread, of each seed
	// Spread asks every seed questions of its own: seed number k of the list the k-th
	// Prompts.N, so that all seeds together answer as many times more questions in the time of the
	// same ones asked again ([eval.SeedBlocks]).
	Spread bool `json:"spread,omitempty"`
	// Streams are asked instead of Prompts where they are named: every predicted token
	// counts, accuracy is the share of right next tokens, and a stream is a cluster.
	Streams Streams `json:"streams,omitzero"`
	// GroupFallback says what a group size that divides no input width does.
	GroupFallback ptq.GroupFallback `json:"group_fallback,omitempty"`
	// Calibration and Seeds name the samples of each cell. Calibration.Name may be all
	// that [Model.CalibrationFrom] reads.
	Calibration Calibration `json:"calibration"`
	Seeds       []uint64    `json:"seeds"`
	Level       float64     `json:"level"` // of the intervals; 0: 0.95
}

// ClaimSetting is a format, with outliers injected or not.
type ClaimSetting struct {
	Format   string `json:"format"`
	Outliers string `json:"outliers,omitempty"` // "": none
}

// String is "w4a8" or "w4a8 with channel outliers".
func (s ClaimSetting) String() string {
	if s.Outliers == "" {
		return s.Format
	}
	return s.Format + " with " + s.Outliers + " outliers"
}

// ClaimFamily is a question and the claims that answer it: A is better than B. Holm's
// correction runs over a family's claims in all models and settings, per metric.
type ClaimFamily struct {
	Name     string      `json:"name"`
	Question string      `json:"question"`
	Claims   [][2]string `json:"claims"` // method A, method B
}

// answerable keeps the claims between methods that the experiment has, and adds a
// family for its variants of TLQ.
func (s *ClaimsSpec) answerable(families []ClaimFamily) []ClaimFamily {
	has := func(name string) bool {
		return slices.ContainsFunc(s.Methods, func(r MethodRef) bool { return r.ID() == name })
	}
	var out []ClaimFamily
	claimed := map[string]bool{}
	for _, f := range families {
		own := ClaimFamily{Name: f.Name, Question: f.Question}
		for _, c := range f.Claims {
			if has(c[0]) && has(c[1]) {
				own.Claims = append(own.Claims, c)
				claimed[c[0]], claimed[c[1]] = true, true
			}
		}
		if len(own.Claims) > 0 {
			out = append(out, own)
		}
	}
	rest := ClaimFamily{Name: "variants", Question: "Does another setting of TLQ do better than its default?"}
	others := ClaimFamily{Name: "others", Question: "Do the other methods beat rounding to nearest?"}
	for _, r := range s.Methods {
		switch name := r.ID(); {
		case claimed[name] || name == "rtn":
		case r.Inline != nil && strings.HasPrefix(name, "tlq-") && has("tlq"):
			rest.Claims = append(rest.Claims, [2]string{name, "tlq"})
		case has("rtn"):
			others.Claims = append(others.Claims, [2]string{name, "rtn"})
		}
	}
	for _, f := range []ClaimFamily{rest, others} {
		if len(f.Claims) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// Only keeps some methods, and the claims that they can answer; an unknown name is an
// error that lists the experiment's.
func (s *ClaimsSpec) Only(names []string) error {
	var kept []MethodRef
	var all []string
	for _, r := range s.Methods {
		all = append(all, r.ID())
	}
	for _, n := range names {
		i := slices.Index(all, n)
		if i < 0 {
			return fmt.Errorf("harness: experiment %s has no method %q: %s", s.Name, n, expected(n, all))
		}
		kept = append(kept, s.Methods[i])
	}
	s.Methods = kept
	var families []ClaimFamily
	for _, f := range s.Families {
		f.Claims = slices.DeleteFunc(slices.Clone(f.Claims), func(c [2]string) bool {
			return !slices.Contains(names, c[0]) || !slices.Contains(names, c[1])
		})
		if len(f.Claims) > 0 {
			families = append(families, f)
		}
	}
	s.Families = families
	return nil
}

// Filled returns the experiment with the zoo's models of its Scales and with what depends
// on its models, as [Spec.Filled] does.
func (s ClaimsSpec) Filled(root string) ClaimsSpec {
	if s.Models == nil && len(s.Scales) > 0 {
		s.Models = slices.DeleteFunc(Zoo(root), func(m string) bool { return !slices.Contains(s.Scales, modelScale(m)) })
	}
	if s.Prompts.N > 0 && len(s.Prompts.Tasks) == 0 {
		s.Prompts.Tasks = TrainedTasks(root, s.Models...)
	}
	s.Calibration.Name = calibrationSet(s.Calibration.Name, root, s.Models...)
	return s
}

// validate checks every name and number.
func (s ClaimsSpec) validate(root string) error {
	if len(s.Seeds) < 2 {
		return fmt.Errorf("harness: %d calibration seeds: expected at least 2, since the seed is the unit of the intervals", len(s.Seeds))
	}
	if err := firstError(checkSeeds(len(s.Seeds)), checkSamples("calibration.samples", s.Calibration.Samples)); err != nil {
		return fmt.Errorf("harness: experiment %s: %w", s.Name, err)
	}
	if len(s.Families) == 0 {
		return fmt.Errorf("harness: experiment %s has no claims: its methods are not compared with each other", s.Name)
	}
	err := firstError(
		checkList("models", s.Models, func(name string) error { _, err := ModelDir(root, name); return err }),
		checkList("settings", s.Settings, func(x ClaimSetting) error { return CheckFormat(x.Format) }),
		checkList("seeds", s.Seeds, func(uint64) error { return nil }),
		Spec{Methods: s.Methods}.validateMethods(),
	)
	if err != nil {
		return fmt.Errorf("harness: experiment %s: %w", s.Name, err)
	}
	if s.GroupFallback != ptq.RefuseGroup && s.GroupFallback != ptq.HalveGroup {
		return fmt.Errorf("harness: experiment %s: group fallback %q: expected \"\" or %q", s.Name, s.GroupFallback, ptq.HalveGroup)
	}
	for _, f := range s.Families {
		for _, c := range f.Claims {
			for _, name := range c {
				if !slices.ContainsFunc(s.Methods, func(r MethodRef) bool { return r.ID() == name }) {
					return fmt.Errorf("harness: experiment %s: family %s names %q, which is none of its methods", s.Name, f.Name, name)
				}
			}
		}
	}
	if s.Calibration.Name == "" {
		return fmt.Errorf("harness: experiment %s has no calibration samples: expected --calib FILE.safetensors[:TENSOR] of token streams, or another set", s.Name)
	}
	return s.validateAsked()
}

// validateAsked checks what the cells are asked.
func (s ClaimsSpec) validateAsked() error {
	switch {
	case s.Streams.From != "" && s.Spread:
		return fmt.Errorf("harness: experiment %s: streams are the same for every seed: expected spread to be false", s.Name)
	case s.Streams.From != "" && s.Streams.N < 0:
		return fmt.Errorf("harness: experiment %s: %d streams: expected at least 2, or 0 for all", s.Name, s.Streams.N)
	case s.Streams.From != "":
		return nil
	case s.Prompts.N == 0:
		return fmt.Errorf("harness: experiment %s asks nothing: expected --tokens FILE.safetensors[:TENSOR] of token streams", s.Name)
	}
	return s.Prompts.validate()
}
