// Package train makes the models of the zoo from scratch: tokenizer, weights,
// model card and curves, from the built-in pictures alone. docs/zoo.md tells how, and
// what made it fast enough.
//
// A run is a [Recipe], and nothing else decides its outcome: picture i of the
// stream depends on the seed and i, the backend's sums have a fixed order, and a
// checkpoint holds the optimizer whole. So a run that was killed and resumed ends
// with the same bytes as one that was not.
package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/models"
)

// Recipe is everything that a training run depends on besides the data.
type Recipe struct {
	Name   string        `json:"name"`  // FAMILY-SCALE
	Scale  string        `json:"scale"` // nano, micro or mini
	Config models.Config `json:"config"`
	Seed   uint64        `json:"seed"`
	Steps  int           `json:"steps"` // of the optimizer
	Batch  []Portion     `json:"batch"` // what each of them sees
	// LabelWeight is the weight of the loss that asks vision tokens half-way through the
	// blocks what they show.
	LabelWeight float64 `json:"label_weight"`
	// Learning rate: linear to Peak over Warmup steps, then a cosine to Final·Peak.
	Peak   float64 `json:"peak"`
	Final  float64 `json:"final"`
	Warmup int     `json:"warmup"`
	// AdamW's β₁ and β₂, Muon's momentum, decoupled weight decay, and the global norm of the
	// gradients above which AdamW's are scaled down.
	Beta1, Beta2, Momentum, Decay, Clip float64
	// EvaluateEvery and CheckpointEvery are in steps.
	EvaluateEvery   int `json:"evaluate_every"`
	CheckpointEvery int `json:"checkpoint_every"`
	// Questions per task in each evaluation on the tuning split.
	Questions int `json:"questions"`
}

// Portion is a task's part of a step's pictures.
type Portion struct {
	Task     string `json:"task"`
	Pictures int    `json:"pictures"`
}

// Pictures is the number of pictures in a step.
func (r *Recipe) Pictures() int {
	n := 0
	for _, p := range r.Batch {
		n += p.Pictures
	}
	return n
}

// FindRecipe returns the recipe of a name.
func FindRecipe(name string) (Recipe, error) {
	var names []string
	for _, r := range Recipes() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Recipe{}, fmt.Errorf("train: no recipe %q; valid names: %s", name, strings.Join(names, ", "))
}

// Validate reports the first setting that cannot be trained with.
func (r *Recipe) Validate() error {
	if err := r.Config.Validate(); err != nil {
		return fmt.Errorf("train: recipe %s: %w", r.Name, err)
	}
	for _, p := range r.Batch {
		if p.Pictures < 1 {
			return fmt.Errorf("train: recipe %s: %d pictures of task %s in a step; leave the task out or take 1 or more", r.Name, p.Pictures, p.Task)
		}
	}
	switch {
	case r.Steps < 1 || r.CheckpointEvery < 1 || r.EvaluateEvery < 1:
		return fmt.Errorf("train: recipe %s: steps %d and the intervals %d, %d must be positive", r.Name, r.Steps, r.EvaluateEvery, r.CheckpointEvery)
	case len(r.Batch) == 0:
		return fmt.Errorf("train: recipe %s names no task", r.Name)
	case r.Peak <= 0 || r.Clip <= 0:
		return fmt.Errorf("train: recipe %s: peak learning rate %g and clip %g must be positive", r.Name, r.Peak, r.Clip)
	}
	return nil
}

// Hash identifies the recipe: a checkpoint of another one is not resumed.
func (r *Recipe) Hash() string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain data marshals
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
