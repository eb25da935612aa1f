package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Curve is what a run measured on its way.
type Curve struct {
	Loss     []LossPoint     `json:"loss"`
	Accuracy []AccuracyPoint `json:"accuracy"`
	Seconds  float64         `json:"seconds"` // of all sittings together
	Pictures int             `json:"pictures"`
}

// LossPoint is a mean over the steps since the point before.
type LossPoint struct {
	Step      int     `json:"step"`
	Loss      float64 `json:"loss"`       // nats per scored token
	LabelLoss float64 `json:"label_loss"` // nats per labelled vision token
	Right     float64 `json:"right"`      // share of scored tokens predicted right
	Rate      float64 `json:"rate"`       // learning rate
	Norm      float64 `json:"norm"`       // of the gradient, before clipping
}

// AccuracyPoint is an evaluation on the tuning split.
type AccuracyPoint struct {
	Step  int                  `json:"step"`
	Tasks map[string]TaskPoint `json:"tasks"`
}

// TaskPoint is a task's accuracy, 0..1, on n questions.
type TaskPoint struct {
	N        int     `json:"n"`
	Accuracy float64 `json:"accuracy"`
	StdErr   float64 `json:"stderr"`
}

const (
	checkpointFile = "checkpoint.safetensors"
	recordFile     = "training.json"
)

// checkpoint is what a checkpoint file holds beside tensors.
type checkpoint struct {
	Step   int       `json:"step"`
	Recipe string    `json:"recipe"` // hash
	Data   string    `json:"data"`   // hash
	Curve  Curve     `json:"curve"`
	Window LossPoint `json:"window"`
}

// save writes the whole state of a run into one file, atomically: weights,
// moments, and as metadata the step, the recipe's hash and the curve.
func (t *trainer) save() error {
	var list []safetensors.Tensor
	for i, p := range t.optimizer.params {
		list = append(list,
			safetensors.FromFloat32("w."+p.Name, p.Shape, p.Data),
			safetensors.FromFloat32("m."+p.Name, p.Shape, t.optimizer.m[i]))
		if v := t.optimizer.v[i]; v != nil {
			list = append(list, safetensors.FromFloat32("v."+p.Name, p.Shape, v))
		}
	}
	t.clock()
	state, err := json.Marshal(checkpoint{t.step, t.recipe.Hash(), t.dataHash, t.curve, t.window})
	if err != nil {
		return err
	}
	return safetensors.WriteFile(filepath.Join(t.dir, checkpointFile), map[string]string{"state": string(state)}, list...)
}

// clock adds the time since it was last read to the curve.
func (t *trainer) clock() {
	now := time.Now()
	t.curve.Seconds += now.Sub(t.started).Seconds()
	t.started = now
}

// restore continues from the folder's checkpoint; without one it reports false.
func (t *trainer) restore() (bool, error) {
	path := filepath.Join(t.dir, checkpointFile)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w; delete the file to train from the beginning", err)
	}
	defer f.Close()
	var state checkpoint
	if err := json.Unmarshal([]byte(f.Metadata()["state"]), &state); err != nil {
		return false, fmt.Errorf("train: %s: state: %w; delete the file to train from the beginning", path, err)
	}
	if state.Recipe != t.recipe.Hash() || state.Data != t.dataHash {
		return false, fmt.Errorf("train: %s belongs to another recipe or other data; delete it to train from the beginning, or choose another folder", path)
	}
	for i, p := range t.optimizer.params {
		for prefix, dst := range map[string][]float32{"w.": p.Data, "m.": t.optimizer.m[i], "v.": t.optimizer.v[i]} {
			if dst == nil { // no second moment
				continue
			}
			if err := read(f, prefix+p.Name, dst); err != nil {
				return false, err
			}
		}
	}
	t.step, t.curve, t.window = state.Step, state.Curve, state.Window
	return true, nil
}

func read(f *safetensors.File, name string, dst []float32) error {
	tensor, err := f.Tensor(name)
	if err != nil {
		return err
	}
	values, err := tensor.Float32s()
	if err != nil {
		return err
	}
	if len(values) != len(dst) {
		return fmt.Errorf("train: checkpoint: tensor %s has %d values; the recipe's has %d", name, len(values), len(dst))
	}
	copy(dst, values)
	return nil
}

// record is what a finished model's folder tells of its training.
type record struct {
	Recipe Recipe               `json:"recipe"`
	Data   string               `json:"data_sha256"`
	Curve  Curve                `json:"curve"`
	Scores map[string]TaskPoint `json:"scores,omitempty"` // of the stored weights on the test split
}

func (r *record) write(dir string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, recordFile), append(data, '\n'), 0o644)
}

// readRecord reads a finished folder's record; the error is fs.ErrNotExist's where no
// training has finished.
func readRecord(dir string) (*record, error) {
	path := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("train: %s: %w", path, err)
	}
	return &r, nil
}

// finished reports that the folder's model is that of the trainer's recipe and data.
func (t *trainer) finished() (bool, error) {
	r, err := readRecord(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.Recipe.Hash() != t.recipe.Hash() || r.Data != t.dataHash {
		return false, fmt.Errorf("train: %s holds a model of another recipe or other data; choose another folder", t.dir)
	}
	return true, nil
}

// finish writes the trained model as a Hugging Face folder in BF16, with its record
// and curves, and removes the checkpoint.
func (t *trainer) finish() error {
	if err := models.New(t.model.Processor, t.weights).Save(t.dir, "BF16"); err != nil {
		return err
	}
	if err := t.writeCurves(); err != nil {
		return err
	}
	r := record{Recipe: t.recipe, Data: t.dataHash, Curve: t.curve}
	if err := r.write(t.dir); err != nil {
		return err
	}
	return os.Remove(filepath.Join(t.dir, checkpointFile))
}
