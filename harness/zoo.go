package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// zooPrefix marks a model of the zoo.
const zooPrefix = "zoo:"

// ZooDir is the folder of the project's trained models.
func ZooDir(root string) string { return filepath.Join(root, "models", "zoo") }

// Zoo lists the models of the zoo, as they are named: "zoo:qwen2vl-nano".
func Zoo(root string) []string {
	entries, err := os.ReadDir(ZooDir(root))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && isModel(filepath.Join(ZooDir(root), e.Name())) {
			out = append(out, zooPrefix+e.Name())
		}
	}
	return out
}

func isModel(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "config.json"))
	return err == nil && info.Mode().IsRegular()
}

// ModelDir returns the folder of a model that is named "zoo:NAME" or by its
// folder. The error lists the zoo.
func ModelDir(root, name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, zooPrefix); ok {
		dir := filepath.Join(ZooDir(root), rest)
		if rest == "" || !filepath.IsLocal(rest) || !isModel(dir) {
			return "", fmt.Errorf("unknown model %q: %s, or a folder in the Hugging Face layout", name, expected(name, Zoo(root)))
		}
		return dir, nil
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return "", fmt.Errorf("unknown model %q: no such folder; %s, or a folder in the Hugging Face layout", name, expected(name, Zoo(root)))
	}
	if !isModel(name) {
		return "", fmt.Errorf("model %q: the folder has no config.json: expected the Hugging Face layout", name)
	}
	return name, nil
}

// modelScale is the size in a model's name: "nano" of "zoo:qwen2vl-nano"; empty
// where the name has none.
func modelScale(name string) string {
	base := filepath.Base(strings.TrimPrefix(name, zooPrefix))
	for _, scale := range []string{"nano", "micro", "mini"} {
		if base == scale || strings.HasSuffix(base, "-"+scale) {
			return scale
		}
	}
	return ""
}
