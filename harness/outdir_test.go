package harness

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("file", nil, 0o644), os.MkdirAll("full/sub", 0o755), os.Mkdir("empty", 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, any, fresh string }{ // what the errors say; empty: none
		{"", "", "working folder"},
		{".", "", "working folder"},
		{"empty", "", ""},
		{"new/sub", "", ""},
		{"full", "", "not empty"},
		{"full/new", "", ""},
		{"file", "file is a file", "file is a file"},
		{"file/new/sub", "file is a file", "file is a file"},
	} {
		for _, check := range []struct {
			name, want string
			err        error
		}{{"CheckOutput", c.any, CheckOutput(c.dir)}, {"CheckNewOutput", c.fresh, CheckNewOutput(c.dir)}} {
			if (check.err == nil) != (check.want == "") || check.err != nil && !strings.Contains(check.err.Error(), check.want) {
				t.Errorf("%s(%q): %v, want %q", check.name, c.dir, check.err, check.want)
			}
		}
	}
}

// TestRemoveUnfinished interrupts the writing of a folder.
func TestRemoveUnfinished(t *testing.T) {
	parent := t.TempDir()
	err := writeFolder(filepath.Join(parent, "out"), func(tmp string) error {
		if err := os.WriteFile(filepath.Join(tmp, "half"), nil, 0o644); err != nil {
			return err
		}
		RemoveUnfinished()
		return os.WriteFile(filepath.Join(tmp, "other half"), nil, 0o644)
	})
	left, readErr := os.ReadDir(parent)
	if err == nil || readErr != nil || len(left) > 0 {
		t.Errorf("left %v, error %v, %v", left, err, readErr)
	}
}
