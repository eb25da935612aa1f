package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Inspection is what can be said of a model without running it.
type Inspection struct {
	Model         string         `json:"model"`
	Dir           string         `json:"dir"`
	Family        models.Family  `json:"family"`
	Config        *models.Config `json:"config"`
	Manifest      *Manifest      `json:"manifest,omitempty"` // of a quantized model's folder
	WeightsSHA256 string         `json:"weights_sha256"`
	Tensors       []TensorInfo   `json:"tensors"`
	Parameters    int64          `json:"parameters"`
	// Parts and Sites say where the parameters are.
	Parts     []models.PartSize `json:"parts"`
	Sites     []models.SiteSize `json:"sites"`
	Bytes     int64             `json:"bytes"`     // of the weights as stored
	Quantized int64             `json:"quantized"` // parameters that methods quantize: the decoder's linears
	PerImage  int               `json:"per_image"` // vision tokens of a picture of the built-in tasks
	Memory    MemoryEstimate    `json:"calibration_memory"`
}

// TensorInfo is one tensor of a checkpoint.
type TensorInfo struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// Inspect describes a model; samples is the size of the calibration set that
// memory is estimated for.
func (m *Model) Inspect(samples int) (*Inspection, error) {
	f, err := safetensors.OpenDir(m.Dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &Inspection{
		Model: m.Name, Dir: m.Dir, Family: m.Config.Family, Config: m.Config, Manifest: m.Manifest, WeightsSHA256: m.WeightsSHA256,
		Parts: m.Config.Parts(), Sites: m.Config.SiteSizes(),
	}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		out.Tensors = append(out.Tensors, TensorInfo{name, t.DType, t.Shape})
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		out.Parameters += n
		out.Bytes += int64(len(t.Data))
	}
	for _, site := range out.Sites {
		out.Quantized += site.Parameters
	}
	return out, out.estimate(m, samples)
}

// streamTokens is the length of token streams that memory is estimated for where a
// model takes no pictures or no text.
const streamTokens = 512

// sampleTokens measures one calibration sample: its padded length and how many of
// its tokens are vision tokens.
func (m *Model) sampleTokens(samples int) (longest, vision int, err error) {
	if m.Tokenizer == nil || m.Pixels == nil { // such a model is calibrated on token streams
		longest = streamTokens
		if limit := m.Config.Text.MaxPositions; limit > 0 {
			longest = min(longest, limit)
		}
		return longest, 0, nil
	}
	c, err := m.Calibration("default", min(2, samples), 0)
	if err != nil {
		return 0, 0, err
	}
	seqs, err := c.Sequences()
	if err != nil {
		return 0, 0, fmt.Errorf("harness: a calibration sample: %w", err)
	}
	for _, s := range seqs {
		longest = max(longest, models.Bucket(s.Len()))
	}
	for _, modality := range seqs[0].Modality {
		if modality == models.Vision {
			vision++
		}
	}
	return longest, vision, nil
}
