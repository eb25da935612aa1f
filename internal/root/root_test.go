package root

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirUpwards(t *testing.T) {
	t.Setenv(Variable, "")
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	if !isDir(filepath.Join(dir, "internal", "root")) {
		t.Errorf("Dir() = %s, which has no internal/root", dir)
	}
}

func TestDirNamed(t *testing.T) {
	want := t.TempDir()
	t.Setenv(Variable, want)
	if dir, err := Dir(); err != nil || dir != want {
		t.Errorf("Dir() = %q, %v; want %q", dir, err, want)
	}
	if path, err := Path("a", "b"); err != nil || path != filepath.Join(want, "a", "b") {
		t.Errorf("Path = %q, %v", path, err)
	}
	missing := filepath.Join(want, "missing")
	t.Setenv(Variable, missing)
	if _, err := Dir(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing folder gave %v", err)
	}
}

func TestDirIgnoresOtherModules(t *testing.T) {
	t.Setenv(Variable, "")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	// The test binary lies in a temporary folder too, so that no rule applies.
	if found, err := Dir(); !errors.Is(err, ErrNotFound) {
		t.Errorf("Dir() = %q, %v; want ErrNotFound", found, err)
	}
}
