package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeFile writes data to path so that a reader sees the old file or the new
// one, whenever the process is killed: temporary file in the same folder,
// sync, rename, sync of the folder. Missing folders are made.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("harness: write %s: %w", path, err)
	}
	return syncDir(dir)
}

// tempPrefix marks files that were being written.
const tempPrefix = ".tmp-"

// syncDir makes a rename inside dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("harness: sync %s: %w", dir, err)
	}
	return nil
}
