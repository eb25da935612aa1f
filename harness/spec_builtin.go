package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// paperFormats are the default grid's: 4 bits with activations of 8, as the paper's
// abstract has weights and activations, and 3 bits of weights alone, with the group for which
// rounding to nearest leaves the zoo a KL of 0.05 to 0.6: below, there is nothing to mend; above,
// no method mends it. On qwen2vl-nano it is 0.044 [0.037, 0.055] at groups of 16 and 0.093
// [0.079, 0.108] at groups of 64 (200 questions of all tasks); `tlq ablate formats` measures
// it for the whole zoo.
var paperFormats = []string{"w4a8", threeBits}

const threeBits = "w3a16g64"

// paperMethods are compared by the default grid.
var paperMethods = []string{"rtn", "smoothquant", "awq", "mbq", "gptq", "tlq"}

// paperPremise is how many prompts the default grid measures the premise on.
const paperPremise = 100

// formatCandidates are the formats of which the default grid's are chosen.
var formatCandidates = []string{"w4a8", "w4a6", "w4a4", "w4a8g64", "w3a16g16", "w3a16g32", "w3a16g64", "w3a16", "w2a16g16", "w2a16g32"}

// BuiltinSpecs lists the names that [LoadSpec] takes beside files.
func BuiltinSpecs() []string { return []string{"paper", "formats"} }

// LoadSpec returns a built-in Spec, or the one in a JSON file, with tasks and calibration
// set filled in. root is the project's folder.
//
//	paper    the default grid: every model of the zoo, both formats, the baselines beside TLQ
//	formats  round-to-nearest alone at ten formats, for every model of the zoo: which of them
//	         leave something to mend
func LoadSpec(root, name string) (Spec, error) {
	switch name {
	case "paper":
		s := DefaultSpec()
		s.Premise, s.Methods = paperPremise, named(paperMethods...)
		return s.ofZoo(root, name)
	case "formats":
		s := DefaultSpec()
		s.Formats, s.Methods = formatCandidates, named("rtn")
		return s.ofZoo(root, name)
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		valid := append(append(BuiltinSpecs(), ClaimSpecs()...), "fidelity")
		return Spec{}, fmt.Errorf("harness: spec %q: no such file, and not a built-in: %s", name, expected(name, valid))
	}
	if err != nil {
		return Spec{}, fmt.Errorf("harness: spec: %w", err)
	}
	s, err := ParseSpec(data)
	if err != nil {
		return Spec{}, fmt.Errorf("harness: spec %s: %w", name, err)
	}
	if s.Name == DefaultSpec().Name {
		s.Name = strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	}
	return s.Filled(root), nil
}

// ofZoo is the Spec for every model of the zoo that is named FAMILY-SCALE: another training
// seed of one is no row of the grid.
func (s Spec) ofZoo(root, name string) (Spec, error) {
	s.Name, s.Models = name, Zoo(root)
	if named := slices.DeleteFunc(slices.Clone(s.Models), func(m string) bool { return modelScale(m) == "" }); len(named) > 0 {
		s.Models = named
	}
	if len(s.Models) == 0 {
		return Spec{}, fmt.Errorf("harness: spec %s: no model in %s: train one with tlq train qwen2vl-nano", name, ZooDir(root))
	}
	return s.Filled(root), nil
}

// named are methods of the table.
func named(names ...string) []MethodRef {
	out := make([]MethodRef, len(names))
	for i, n := range names {
		out[i] = MethodRef{Name: n}
	}
	return out
}

// Smoke returns a Spec of the same shape that takes seconds: the first model
// and the first two formats, few samples and questions.
func (s Spec) Smoke() Spec {
	s.Name += "-smoke"
	s.Models = s.Models[:min(1, len(s.Models))]
	s.Formats = s.Formats[:min(2, len(s.Formats))]
	s.Seeds = s.Seeds[:min(1, len(s.Seeds))]
	s.Calibration.Samples = min(s.Calibration.Samples, smokeSamples)
	if s.Limit == 0 || s.Limit > smokeQuestions {
		s.Limit = smokeQuestions
	}
	s.Premise = min(s.Premise, smokePremise)
	return s
}

// What a smoke run looks at.
const (
	smokeSamples   = 8
	smokeQuestions = 24 // per task
	smokePremise   = 12 // prompts
)
