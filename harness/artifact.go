package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/eval"
)

// Trace is what calibrating one cell did, layer by layer.
type Trace struct {
	Model  string       `json:"model"`
	Format string       `json:"format"`
	Method string       `json:"method"`
	Seed   uint64       `json:"seed"`
	Layers []TraceLayer `json:"layers"` // in the order of the network
}

// TraceLayer is one decoder layer of a Trace.
type TraceLayer struct {
	Index int                  `json:"index"`
	Sites map[string]TraceSite `json:"sites"` // "qkv", "o", "gate_up", "down"; only those that were searched
	// FPNorm is the root mean square of the unquantized stream after the
	// layer, over real tokens and channels.
	FPNorm float64 `json:"fp_norm"`
	// Exposed is the error of the true quantized path after this layer: all
	// earlier layers are quantized too. Local is the error this layer adds
	// alone, fed with the unquantized stream.
	Exposed TokenErrors `json:"exposed"`
	Local   TokenErrors `json:"local"`
}

// TraceSite is one scale search.
type TraceSite struct {
	Alphas  []float64 `json:"alphas"`  // candidates, in order of trial; α = 0 is plain rounding
	J       []float64 `json:"j"`       // the objective at each candidate
	Chosen  int       `json:"chosen"`  // index of the kept candidate
	Factors []float64 `json:"factors"` // the kept smoothing factors: minimum, median, maximum
	Tokens  int       `json:"tokens"`  // size of the token-level calibration set here
}

// TokenErrors are relative errors ‖x̂−x‖/‖x‖ of a residual stream, over all
// real tokens and over those of one kind; 0 where there are none.
type TokenErrors struct {
	All    float64 `json:"all"`
	Vision float64 `json:"vision"`
	Answer float64 `json:"answer"`
	Other  float64 `json:"other"`
}

// TokenMap is the importance of every token of one calibration sample.
type TokenMap struct {
	Model    string `json:"model"`
	Format   string `json:"format"`
	Method   string `json:"method"`
	Seed     uint64 `json:"seed"`
	Image    string `json:"image"` // PNG, relative to the run's folder
	Question string `json:"question"`
	Answer   string `json:"answer"`
	Rows     int    `json:"rows"` // grid of vision tokens laid over Image
	Cols     int    `json:"cols"`

	// Tokens lists the sequence in order. Importance there is the mean over
	// Layers, each layer's vision, answer and other tokens together summing to 1.
	Tokens []MapToken `json:"tokens"`
	// Layers holds the importance at each searched site.
	Layers []MapLayer `json:"layers"`
}

// MapToken is one token of a TokenMap.
type MapToken struct {
	Text       string  `json:"text"`     // its piece of text; empty for vision tokens
	Modality   string  `json:"modality"` // "vision", "answer" or "other"
	Row        int     `json:"row"`      // place in the grid, vision tokens only
	Col        int     `json:"col"`
	Importance float64 `json:"importance"`
	Kept       float64 `json:"kept"` // share of Layers that keep the token, in 0..1
}

// MapLayer is the importance of a TokenMap's tokens at one site.
type MapLayer struct {
	Layer      int       `json:"layer"`
	Site       string    `json:"site"`
	Importance []float64 `json:"importance"` // [tokens], before clipping
	Weight     []float64 `json:"weight"`     // [tokens], in the objective; 0: not kept
}

// ReadTrace reads the artifact that Record.Trace names in the run's folder.
func ReadTrace(dir, path string) (*Trace, error) { return readArtifact[Trace](dir, path) }

// ReadTokenMap reads the artifact that Record.TokenMap names in the run's
// folder.
func ReadTokenMap(dir, path string) (*TokenMap, error) { return readArtifact[TokenMap](dir, path) }

// ReadSamples reads the per-question scores that Record.Samples names in the
// run's folder.
func ReadSamples(dir, path string) ([]eval.Sample, error) {
	full, err := insideDir(dir, path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, fmt.Errorf("harness: samples: %w", err)
	}
	defer f.Close()
	samples, err := eval.ReadSamples(f)
	if err != nil {
		return nil, fmt.Errorf("harness: %s: %w", full, err)
	}
	return samples, nil
}

func readArtifact[T any](dir, path string) (*T, error) {
	full, err := insideDir(dir, path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(full)
	if err != nil {
		return nil, fmt.Errorf("harness: artifact: %w", err)
	}
	v := new(T)
	if err := unmarshalStrict(data, v); err != nil {
		return nil, fmt.Errorf("harness: %s: %w", full, err)
	}
	return v, nil
}

// insideDir joins a record's relative path to its folder and refuses paths
// that leave it: records may come from elsewhere.
func insideDir(dir, path string) (string, error) {
	local := filepath.FromSlash(path)
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("harness: %q: expected a path inside %s", path, dir)
	}
	return filepath.Join(dir, local), nil
}

// writeJSON writes v as indented JSON: all of it or, on an error, nothing.
func writeJSON(path string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("harness: %s: %w", path, err)
	}
	return writeFile(path, b.Bytes())
}

// writeSamples writes a samples/*.jsonl file: all of it or nothing.
func writeSamples(path string, samples []eval.Sample) error {
	var b bytes.Buffer
	if err := eval.WriteSamples(&b, samples); err != nil {
		return fmt.Errorf("harness: %s: %w", path, err)
	}
	return writeFile(path, b.Bytes())
}
