package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// Files that a quantized model's folder has beside the Hugging Face layout.
const (
	ManifestFile = "manifest.json"
	GridsFile    = "grids.safetensors"
)

// Manifest describes a quantized model's folder, whose weights are dequantized
// values: what they were made from, on which grids they lie, and what has to
// happen to activations.
type Manifest struct {
	Model         string            `json:"model"` // as it was named
	Format        ptq.Format        `json:"format"`
	GroupFallback ptq.GroupFallback `json:"group_fallback"`
	Method        ptq.Method        `json:"method"`
	Calibration   Calibration       `json:"calibration"`
	Seed          uint64            `json:"seed"`
	AvgBits       float64           `json:"avg_bits"`
	Activations   ActivationInfo    `json:"activations"`
	Outliers      ptq.Outliers      `json:"outliers,omitzero"`      // injected before
	VisionTower   bool              `json:"vision_tower,omitempty"` // its blocks' linears are rounded, and their inputs where activations are
	Rotation      *RotationInfo     `json:"rotation,omitempty"`
	Layers        []ManifestLayer   `json:"layers"`
	Grids         string            `json:"grids"` // file with "NAME.step" and "NAME.zero" [out, groups] of every quantized weight

	SourceSHA256  string  `json:"source_sha256"`  // weights of the unquantized model
	WeightsSHA256 string  `json:"weights_sha256"` // weights in this folder
	DataSHA256    string  `json:"data_sha256"`    // what the calibration samples were made from
	Events        []Event `json:"events"`
}

// ActivationInfo is the quantizer of every quantized linear's input.
type ActivationInfo struct {
	Bits      int  `json:"bits"` // 16: none
	Symmetric bool `json:"symmetric"`
	PerToken  bool `json:"per_token"` // one step per token, found when it is used
}

// WriteQuantized writes a quantized model to a new or empty folder: F32
// safetensors in the Hugging Face layout, the grids and a manifest. Nothing is
// left behind when it fails.
func (m *Model) WriteQuantized(dir string, c *Samples, q *Quantized) (*Manifest, error) {
	defer m.boundGarbage()()
	grids, err := q.Grids()
	if err != nil {
		return nil, err
	}
	layers, err := q.manifestLayers()
	if err != nil {
		return nil, err
	}
	manifest := &Manifest{
		Model: m.Name, Format: q.Format, GroupFallback: q.Fallback, Method: q.Method,
		Calibration: Calibration{Name: c.Name, Samples: c.N}, Seed: c.Seed, AvgBits: q.AvgBits,
		Activations: ActivationInfo{Bits: q.Format.Activation, Symmetric: true, PerToken: true}, Grids: GridsFile,
		SourceSHA256: m.WeightsSHA256, WeightsSHA256: q.WeightsSHA256, DataSHA256: c.DataSHA256, Events: m.s.Events(),
		Outliers: q.Outliers, VisionTower: q.Tower, Rotation: m.rotationInfo(q, c.Seed), Layers: layers,
	}
	return manifest, writeFolder(dir, func(tmp string) error {
		if err := q.on.WithSource(q.Layer).Save(tmp, "F32"); err != nil {
			return err
		}
		if err := safetensors.WriteFile(filepath.Join(tmp, GridsFile), map[string]string{"format": q.Format.String()}, grids...); err != nil {
			return err
		}
		return writeJSON(filepath.Join(tmp, ManifestFile), manifest)
	})
}

// readManifest reads the manifest of a quantized model's folder; nil where it
// has none.
func readManifest(dir string) (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	m := &Manifest{}
	if err := unmarshalStrict(data, m); err != nil {
		return nil, fmt.Errorf("harness: %s: %w", filepath.Join(dir, ManifestFile), err)
	}
	if err := m.Format.Validate(); err != nil {
		return nil, fmt.Errorf("harness: %s: %w", filepath.Join(dir, ManifestFile), err)
	}
	return m, nil
}
