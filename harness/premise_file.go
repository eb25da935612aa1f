package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// PremiseFile of a run's folder holds a JSON list of [Premise], one for each model of the
// grid that reads pictures, in the order of the Spec's models: measured on Spec.Premise
// prompts at the Spec's formats. It is missing where the Spec asks for none.
const PremiseFile = "premise.json"

// ReadPremises reads the premises of a run's folder. A folder without the file has none,
// which is no error.
func ReadPremises(dir string) ([]Premise, error) {
	path := filepath.Join(dir, PremiseFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	var out []Premise
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("harness: %s: expected a list of premises, as a run writes them: %w", path, jsonError(err))
	}
	return out, nil
}
