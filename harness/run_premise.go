package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/eval"
)

// premiseResamples keep a grid's premise cheap: at the default number, resampling the channel
// profiles of all sites takes most of the time.
const premiseResamples = eval.MinResamples

// premiseOf is what a grid's premise is measured on in each model.
func (s Spec) premiseOf() PremiseSettings {
	out := PremiseSettings{
		Prompts: Prompts{Tasks: s.Tasks, Split: s.Split, N: s.Premise}, Formats: s.Formats, Stats: s.Stats, GroupFallback: s.GroupFallback,
	}
	if out.Stats.Bootstrap.Resamples == 0 {
		out.Stats.Bootstrap.Resamples = premiseResamples
	}
	return out
}

// addPremises adds the premise of every model that reads pictures, behind the cells.
func (p *Plan) addPremises() error {
	if p.Spec.Premise == 0 {
		return nil
	}
	settings := p.Spec.premiseOf()
	for _, name := range p.Spec.Models {
		m, err := p.s.Model(name)
		if err != nil {
			return err
		}
		if m.Pixels == nil {
			continue
		}
		if err := m.checkPremise(settings); err != nil {
			return err
		}
		what := fmt.Sprintf("%d prompts, %s", settings.Prompts.N, m.Name)
		p.rest += p.addStage(premiseStage, what, premiseKey(m, settings, Key(p.DataSHA256)), m.sizes().premise(m, settings))
		p.premises = append(p.premises, m)
	}
	return nil
}

// premises measures what the Spec asks for and writes [PremiseFile]. Models whose premise
// can't be measured are left out and named in the error.
func (r *run) premises(ctx context.Context) error {
	path := filepath.Join(r.o.Dir, PremiseFile)
	if len(r.p.premises) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // an earlier run's
			return fmt.Errorf("harness: run folder: %w", err)
		}
		return nil
	}
	var out []Premise
	var failed error
	settings := r.p.Spec.premiseOf()
	for _, m := range r.p.premises {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.board.note("premise of " + m.Name)
		var premise *Premise
		err := recovered(func() (err error) {
			premise, err = m.in(m.s.WithContext(ctx).WithProgress(nil)).Premise(settings)
			return err
		})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("harness: premise of %s: %w", m.Name, err))
			continue
		}
		out = append(out, *premise)
	}
	if err := writeJSON(path, out); err != nil {
		return err
	}
	return failed
}
