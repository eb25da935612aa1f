package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models/pixels"
)

// Family names an architecture.
type Family string

// Families that load.
const (
	Qwen2VL Family = "qwen2vl" // ViT with 2-D rotary positions, patch merger, M-RoPE Qwen2 language model
	LlavaOV Family = "llavaov" // SigLIP tower, 2-layer GELU projector, image_newline, anyres tiles, Qwen2 language model
	Qwen2   Family = "qwen2"   // language model alone: biases at q, k, v
	Llama   Family = "llama"   // language model alone: no biases unless the config asks for them
)

// architecture is everything that differs between families. All else (blocks,
// batches, gradients, generation) is one code for all of them.
type architecture interface {
	// modelType is config.json's model_type.
	modelType() string
	// parse reads a config.json; what it cannot represent fails by name.
	parse(f *fields) *Config
	// validate reports the first inconsistency beyond the language model's.
	validate(c *Config) error
	// hubJSON is config.json as its library writes it.
	hubJSON(c *Config) map[string]any

	// place tells where a parameter lies in a checkpoint.
	place(c *Config, p Param) place
	// aliases are prefixes of names that releases of the library wrote instead
	// of those of place.
	aliases() []alias

	// tower is the family's vision tower; nil for a language model alone.
	tower(c *Config) tower
	// parsePixels reads the image processor's settings; nil without a tower.
	parsePixels(data []byte, c *Config) (pixels.Processor, error)
	// dialect is how prompts are written.
	dialect() dialect
}

// architectures lists the families.
var architectures = map[Family]architecture{
	Qwen2VL: qwen2VL{},
	LlavaOV: llavaOV{},
	Qwen2:   plainQwen2,
	Llama:   plainLlama,
}

// arch returns the architecture of c's family. A family that isn't in the table
// is a programming error: [Config.Validate] reports it.
func (c *Config) arch() architecture {
	a, ok := architectures[c.Family]
	if !ok {
		panic(fmt.Sprintf("models: unknown family %q", c.Family))
	}
	return a
}

// tower returns the vision tower of c's family, nil where it reads no pictures.
func (c *Config) tower() tower { return c.arch().tower(c) }

// findArchitecture looks up config.json's model_type.
func findArchitecture(modelType string) (architecture, error) {
	var known []string
	for _, a := range architectures {
		if a.modelType() == modelType {
			return a, nil
		}
		known = append(known, a.modelType())
	}
	slices.Sort(known)
	return nil, fmt.Errorf("model_type %q is not supported; expected one of %s", modelType, strings.Join(known, ", "))
}

// place is where a parameter lies in a checkpoint: the tensor's name and shape,
// and which of how many equal parts along its first axis the parameter is.
type place struct {
	name        string
	shape       []int
	part, parts int
}

// whole is a parameter that is a tensor of its own.
func whole(name string, shape ...int) place { return place{name: name, shape: shape, parts: 1} }

// alias says that a name that begins with from may be stored under one of the
// prefixes in to instead.
type alias struct {
	from string
	to   []string
}

// dialect is how a family writes the prompt of one user turn: the system message,
// head, for each picture before + its tokens + after, ask, the question, end.
type dialect struct {
	head, before, after, ask, end string
	// system renders a system message; nil where there is none.
	system func(text string) string
	// stop ends an answer; empty: the token that ends a text.
	stop string
	// marks are parts of the folder's chat template by which it is recognized.
	marks []string
	// chat renders whole conversations; nil where the family has no template.
	chat func(system string, messages []Message, generation bool) (string, error)
	// template is the template that is saved for a system message.
	template func(system string) string
}
