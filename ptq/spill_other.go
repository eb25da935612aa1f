//go:build !linux

package ptq

import (
	"errors"
	"os"
)

// canMap tells whether a Spill can use a file.
const canMap = false

var errNoMap = errors.New("mapping files is not in this build")

func mapSpill(*os.File, int64, int64) ([]byte, error) { return nil, errNoMap }

func restSpill([]byte) {}

func unmapSpill([]byte) error { return errNoMap }
