package harness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
)

// zooPrefix marks a model of the zoo.
const zooPrefix = "zoo:"

// ZooDir is the folder of the project's trained models.
func ZooDir(root string) string { return filepath.Join(root, "models", "zoo") }

// Zoo lists the models of the zoo, as they are named: "zoo:qwen2vl-nano". A family stands
// together, small models first.
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
	slices.SortStableFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(families, modelFamily(a)), rank(families, modelFamily(b))), cmp.Compare(modelFamily(a), modelFamily(b)),
			cmp.Compare(rank(scales, modelScale(a)), rank(scales, modelScale(b))))
	})
	return out
}

// The zoo's families and scales, in the order in which they are shown.
var (
	families = []string{string(models.Qwen2VL), string(models.LlavaOV)}
	scales   = []string{"nano", "micro", "mini"}
)

// rank is the place of a name in a list; what isn't in it stands behind.
func rank(list []string, name string) int {
	if i := slices.Index(list, name); i >= 0 {
		return i
	}
	return len(list)
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
	for _, scale := range scales {
		if base == scale || strings.HasSuffix(base, "-"+scale) {
			return scale
		}
	}
	return ""
}

// modelFamily is what stands in front of the size in a model's name.
func modelFamily(name string) string {
	base := filepath.Base(strings.TrimPrefix(name, zooPrefix))
	return strings.TrimSuffix(strings.TrimSuffix(base, modelScale(name)), "-")
}

// trainingFile stands in the folder of a model that was trained here: its recipe, data and
// curves.
const trainingFile = "training.json"

// trainedOn lists the built-in tasks that a model's folder says it was trained on, in the
// order of [datasets.Tasks]. Nil where it doesn't say: a model from elsewhere.
func trainedOn(dir string) []string {
	data, err := os.ReadFile(filepath.Join(dir, trainingFile))
	if err != nil {
		return nil
	}
	var file struct {
		Recipe struct {
			Tasks []string `json:"tasks"` // recipes of before there was a batch
			Batch []struct {
				Task     string `json:"task"`
				Pictures int    `json:"pictures"`
			} `json:"batch"`
		} `json:"recipe"`
	}
	if json.Unmarshal(data, &file) != nil { // another program's file of that name
		return nil
	}
	seen := file.Recipe.Tasks
	for _, part := range file.Recipe.Batch {
		if part.Pictures > 0 {
			seen = append(seen, part.Task)
		}
	}
	return slices.DeleteFunc(taskNames(), func(task string) bool { return !slices.Contains(seen, task) })
}

// taskNames lists the built-in tasks.
func taskNames() []string {
	var out []string
	for _, t := range datasets.Tasks() {
		out = append(out, t.Name)
	}
	return out
}

// TrainedTasks lists the tasks that all of these models were trained on, in the order of
// [datasets.Tasks]: what they are asked where nothing else is said. Models from elsewhere
// don't say what they have seen; where none does, or they have none in common, it is all
// tasks. root is the project's folder.
func TrainedTasks(root string, models ...string) []string {
	if tasks := sharedTasks(root, models); len(tasks) > 0 {
		return tasks
	}
	return taskNames()
}

// sharedTasks are the tasks that all models share which say what they were trained on; nil
// where none does.
func sharedTasks(root string, models []string) []string {
	var out []string
	for _, name := range models {
		dir, err := ModelDir(root, name)
		if err != nil { // Validate tells
			continue
		}
		tasks := trainedOn(dir)
		if out == nil {
			out = tasks
		} else if tasks != nil {
			out = slices.DeleteFunc(out, func(t string) bool { return !slices.Contains(tasks, t) })
		}
	}
	return out
}

// defaultSet is the calibration set of those who name none: training pictures of the tasks
// that the models were trained on, or the set of that name where they don't say.
const defaultSet = "default"

// calibrationSet is the set that a name stands for with these models.
func calibrationSet(name, root string, models ...string) string {
	if name != defaultSet {
		return name
	}
	if tasks := sharedTasks(root, models); len(tasks) > 0 {
		return strings.Join(tasks, "+")
	}
	return name
}
