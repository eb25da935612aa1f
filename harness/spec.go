package harness

import "encoding/json"

// Spec is an experiment as data: the grid of models, formats, methods and
// seeds, the tasks that score it and the samples that calibrate it.
type Spec struct {
	Name        string      `json:"name"`        // names the run's folder
	Models      []string    `json:"models"`      // "zoo:NAME" or a folder in the Hugging Face layout
	Formats     []string    `json:"formats"`     // as tlq.ParseFormat reads them: "w4a8", "w3a16g16"
	Methods     []MethodRef `json:"methods"`     // names or inline methods
	Tasks       []string    `json:"tasks"`       // names of tasks
	Limit       int         `json:"limit"`       // questions per task; 0: all
	Calibration Calibration `json:"calibration"` // samples that methods may look at
	Seeds       []uint64    `json:"seeds"`       // one row per seed for methods that calibrate
	Stats       Stats       `json:"stats"`
}

// Calibration names the samples that methods may look at.
type Calibration struct {
	Name    string `json:"name"`    // calibration set
	Samples int    `json:"samples"` // how many of it
}

// Stats are the settings of intervals.
type Stats struct {
	Bootstrap int    `json:"bootstrap"` // resamples
	Seed      uint64 `json:"seed"`      // of the resampling
}

// MethodRef is a method by name or, where a Spec brings its own, by value.
type MethodRef struct {
	Name   string          // in the table of methods, or Inline's own name
	Inline json.RawMessage // nil: the table's
}
