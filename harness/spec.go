package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/ptq"
)

// Spec is an experiment as data: the grid models × formats × methods × seeds,
// the tasks that score it and the samples that calibrate it. In JSON, what is
// left out takes DefaultSpec's value, and unknown fields are errors.
type Spec struct {
	Name    string   `json:"name"`    // names the run's folder
	Models  []string `json:"models"`  // "zoo:NAME" or a folder in the Hugging Face layout
	Formats []string `json:"formats"` // as ptq.ParseFormat reads them: "w4a8", "w3a16g16"
	// Outliers are injected into the model before it is quantized, as ptq.ParseOutliers reads
	// them: "none", "channel", "modality", "sink*64". A method and format is run with each; left
	// out: none alone.
	Outliers []string `json:"outliers,omitempty"`
	// VisionTower rounds the linears of the vision tower's blocks too, to nearest.
	VisionTower bool        `json:"vision_tower,omitempty"`
	Methods     []MethodRef `json:"methods"`     // names or inline methods
	Tasks       []string    `json:"tasks"`       // names of tasks; left out: see Filled
	Split       string      `json:"split"`       // "test" for reported numbers, "tuning" for choosing settings
	Limit       int         `json:"limit"`       // questions per task; 0: all, which is AllQuestions for a generated task
	Calibration Calibration `json:"calibration"` // samples that methods may look at
	Seeds       []uint64    `json:"seeds"`       // of the calibration samples; one row each
	Stats       Stats       `json:"stats"`
	// Premise is the number of prompts on which the premise is measured in every model that
	// reads pictures, at the Spec's formats ([Model.Premise]); 0: it isn't. No Record depends
	// on it: see [PremiseFile].
	Premise int `json:"premise,omitempty"`
	// GroupFallback says what a group size that divides no input width does:
	// "" refuses, "halve" halves it and records an event.
	GroupFallback ptq.GroupFallback `json:"group_fallback"`
}

// Calibration names the samples that methods may look at.
type Calibration struct {
	Name    string `json:"name"`    // calibration set: tasks joined by +, or "default"
	Samples int    `json:"samples"` // how many of it
}

// Stats are the settings of intervals.
type Stats struct {
	Bootstrap eval.BootstrapConfig `json:"bootstrap"`
	Seed      uint64               `json:"seed"` // of the resampling
}

// AllQuestions is how many questions a generated task has when all are asked
// for: any number could be made, and this many decide a 1% difference.
const AllQuestions = 10_000

// DefaultSpec is what fields take that a Spec leaves out: the default grid's formats, the
// unquantized model beside round-to-nearest and TLQ, 150 questions per task, 64 calibration
// samples. It names no model, and no task: see [Spec.Filled].
func DefaultSpec() Spec {
	return Spec{
		Name:        "experiment",
		Formats:     slices.Clone(paperFormats),
		Methods:     []MethodRef{{Name: "rtn"}, {Name: "tlq"}},
		Split:       string(datasets.Test),
		Limit:       150,
		Calibration: Calibration{Name: defaultSet, Samples: 64},
		Seeds:       []uint64{0},
	}
}

// Filled returns the Spec with what depends on its models: where it names no task, those
// that all of them were trained on ([TrainedTasks]), and as calibration set "default" their
// training pictures. What was filled in stands in the Spec from there on, so that the Spec
// of a Record asks the same wherever it is run. root is the project's folder.
func (s Spec) Filled(root string) Spec {
	if s.Tasks == nil {
		s.Tasks = TrainedTasks(root, s.Models...)
	}
	s.Calibration.Name = calibrationSet(s.Calibration.Name, root, s.Models...)
	return s
}

// ParseSpec reads a Spec from JSON; what it leaves out takes DefaultSpec's value. It doesn't
// check names: see [Spec.Validate].
func ParseSpec(data []byte) (Spec, error) {
	s := DefaultSpec()
	// A list in the file replaces the default; decoding would write into it.
	var given struct {
		Formats json.RawMessage `json:"formats"`
		Methods json.RawMessage `json:"methods"`
		Tasks   json.RawMessage `json:"tasks"`
		Seeds   json.RawMessage `json:"seeds"`
	}
	if err := json.Unmarshal(data, &given); err != nil {
		return Spec{}, fmt.Errorf("expected a JSON object: %s", shapeError(err))
	}
	if given.Formats != nil {
		s.Formats = nil
	}
	if given.Methods != nil {
		s.Methods = nil
	}
	if given.Tasks != nil {
		s.Tasks = nil
	}
	if given.Seeds != nil {
		s.Seeds = nil
	}
	if err := unmarshalStrict(data, &s); err != nil {
		return Spec{}, fmt.Errorf("%w: the fields are %s", err, strings.Join(jsonFields[Spec](), ", "))
	}
	return s, nil
}

// Hash is the SHA-256 of the Spec's canonical JSON: fields in the order of the
// struct, no white space.
func (s Spec) Hash() string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("harness: spec %s: %v", s.Name, err)) // only values that parsing or code put there
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Validate checks every name and number, without reading weights. root is the
// project's folder. An unknown name's error lists the valid ones and suggests
// the nearest.
func (s Spec) Validate(root string) error {
	if err := s.Filled(root).validate(root); err != nil {
		return fmt.Errorf("harness: spec %s: %w", s.Name, err)
	}
	return nil
}

func (s Spec) validate(root string) error {
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, `/\`) || strings.HasPrefix(s.Name, "."):
		return fmt.Errorf("name %q: expected a word that can name a folder", s.Name)
	case s.GroupFallback != ptq.RefuseGroup && s.GroupFallback != ptq.HalveGroup:
		return fmt.Errorf("group_fallback %q: expected \"\" or %q", s.GroupFallback, ptq.HalveGroup)
	case s.Premise < 0 || s.Premise == 1:
		return fmt.Errorf("premise %d: expected at least 2 prompts, for an interval, or 0 to measure none", s.Premise)
	}
	if _, err := datasets.CalibrationTasks(s.Calibration.Name); err != nil {
		return err
	}
	if _, err := datasets.ParseSplit(s.Split); err != nil {
		return err
	}
	if err := firstError(checkQuestions(s.Limit), checkSamples("calibration.samples", s.Calibration.Samples), checkSeeds(len(s.Seeds))); err != nil {
		return err
	}
	return firstError(
		checkList("models", s.Models, func(name string) error { _, err := ModelDir(root, name); return err }),
		checkList("formats", s.Formats, CheckFormat),
		s.validateOutliers(),
		checkList("methods", s.methodNames(), func(string) error { return nil }),
		s.validateMethods(),
		checkList("tasks", s.Tasks, func(name string) error { _, err := datasets.FindTask(name); return err }),
		checkList("seeds", s.Seeds, func(uint64) error { return nil }),
		s.Stats.Bootstrap.Validate(),
	)
}

// validateOutliers refuses outliers that can't be read or are named twice, in whatever
// words.
func (s Spec) validateOutliers() error {
	var names []string
	for _, text := range s.Outliers {
		o, err := ptq.ParseOutliers(text)
		if err != nil {
			return err
		}
		if slices.Contains(names, o.String()) {
			return fmt.Errorf("outliers names %s twice", o)
		}
		names = append(names, o.String())
	}
	return nil
}

func (s Spec) methodNames() []string {
	names := make([]string, len(s.Methods))
	for i, r := range s.Methods {
		names[i] = r.ID()
	}
	return names
}

func (s Spec) validateMethods() error {
	for _, r := range s.Methods {
		m, err := r.Method()
		if err == nil && m.Name == MethodFP {
			err = fmt.Errorf("method name %q is taken by the unquantized model's row", MethodFP)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkList checks that a list of the Spec has entries, each valid and named
// once.
func checkList[T comparable](field string, values []T, check func(T) error) error {
	if len(values) == 0 {
		return fmt.Errorf("%s is empty: expected at least one", field)
	}
	for i, v := range values {
		if slices.Contains(values[:i], v) {
			return fmt.Errorf("%s names %v twice", field, v)
		}
		if err := check(v); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// commonFormats are the formats that experiments use: what an unknown one is
// compared with.
var commonFormats = []string{"w4a8", "w4a6", "w4a4", "w3a16g16", "w4a16g16", "w4a16g64", "w3a16g64", "w4a8g64", "w2a16g16", "w8a8", "w4a16"}

// CheckFormat reports whether a format can be read; the error shows the
// grammar, common formats and the nearest of them.
func CheckFormat(name string) error {
	_, err := ptq.ParseFormat(name)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; common ones: %s", err, expectedOf(name, commonFormats))
}

// questions is how many questions per task the Spec asks.
func (s Spec) questions() int {
	if s.Limit == 0 {
		return AllQuestions
	}
	return s.Limit
}
