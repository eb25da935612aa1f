package notebook

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tempPrefix begins the name of our temporary folders; the process id follows.
const tempPrefix = "tlq-notebook-"

// newTemp makes a private temporary folder, and removes those that earlier runs
// left behind because they were killed: each may hold programs of many MB.
func newTemp() (string, error) {
	parent := os.TempDir()
	old, err := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), tempPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && !alive(n) {
			_ = os.RemoveAll(dir) // somebody else's, or in use: not ours to worry about
		}
	}
	return os.MkdirTemp(parent, fmt.Sprintf("%s%d-*", tempPrefix, os.Getpid()))
}
