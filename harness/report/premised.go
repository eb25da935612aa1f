package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/tlqlab/tlqlab/harness"
)

// premiseFile is what a premise's report keeps its numbers in.
const premiseFile = "premise.json"

// addPremises says what is known of the premise of the run's models: a premise's
// report in the run's folder, or in a folder of it, is summed up and linked.
func (r *run) addPremises(p *page) {
	var out links
	for _, pattern := range []string{premiseFile, filepath.Join("*", premiseFile)} {
		found, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil { // no pattern of ours is malformed; a folder's name may be
			continue
		}
		for _, file := range found {
			local, err := filepath.Rel(r.dir, file)
			if err != nil {
				continue
			}
			name := filepath.ToSlash(local)
			if x, err := r.premiseLink(file, name); err != nil {
				r.leaveOut("the premise of a model", name, err)
			} else if x != nil {
				out.items = append(out.items, *x)
			}
		}
	}
	if len(out.items) > 0 {
		p.add(heading{"Does the premise hold in these models?"}, out)
	}
}

// premiseLink sums one premise up; nil where its model is not in the run.
func (r *run) premiseLink(file, name string) (*link, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var x harness.Premise
	if err := json.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !slices.Contains(r.models, x.Model) || len(x.Rounded) == 0 {
		return nil, nil
	}
	to := name
	if beside := path.Join(path.Dir(name), "report.html"); path.Dir(name) != "." {
		if _, err := os.Stat(filepath.Join(r.dir, filepath.FromSlash(beside))); err == nil {
			to = beside
		}
	}
	return &link{r.modelName(x.Model), address(to), ": " + PremiseVerdict(&x)[0]}, nil
}
