package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/harness"
)

// asked is how a run names what its cells are asked.
type asked struct{ unit, cluster, accuracy string }

func askedOf(r *harness.ClaimsRun) asked {
	if r.Spec.Streams.From != "" {
		return asked{"stream", "stream", "right next tokens"}
	}
	return asked{"question", "picture", "accuracy"}
}

// metric is a metric's name.
func (a asked) metric(name string) string {
	switch name {
	case harness.MetricKL:
		return "KL"
	case harness.MetricNLL:
		return "NLL"
	}
	return a.accuracy
}

// claimsMethod says what the numbers are.
func claimsMethod(r *harness.ClaimsRun) string {
	samples := count(r.Spec.Calibration.Samples, "sample")
	same := "the same for every cell"
	if r.Spec.Spread {
		same = fmt.Sprintf("%s of each seed's own, the same for every cell of the seed", grouped(r.Asked))
	}
	what := fmt.Sprintf("%s of the %s split (%s, %s), %s", count(r.Questions, "question"), r.Spec.Prompts.Split, strings.Join(r.Spec.Prompts.Tasks, ", "), count(r.Clusters, "picture"), same)
	where := "KL to the unquantized model over the whole vocabulary at the right answer's tokens"
	if r.Spec.Streams.From != "" {
		what = fmt.Sprintf("%s of %s (%s), the same for every cell", count(r.Asked, "token stream"), r.Spec.Streams.From, count(r.Tokens, "predicted token"))
		samples += " of " + r.Spec.Calibration.Name + ", drawn anew by each seed,"
		where = "KL to the unquantized model over the whole vocabulary, NLL and the share of right next tokens are means over all predicted tokens, clustered by stream"
	}
	between := fmt.Sprintf("clustered variance of the %ss' means over seeds", askedOf(r).unit)
	if r.Spec.Spread {
		between = "what seeds share because a picture is asked about in several of them (two-way clustering)"
	}
	text := fmt.Sprintf("%s; %s on %s each; %s, nats per token. "+
		"Differences are paired by seed and %s. SE² = variance of the seeds' means ÷ seeds + %s; t intervals with Satterthwaite's degrees of freedom. "+
		"Holm's correction runs over a family's claims in all settings, per metric.",
		what, count(len(r.Spec.Seeds), "calibration seed"), samples, where, askedOf(r).unit, between)
	return text + claimsFallback(r)
}

// claimsFallback says where groups were halved: the average bits count them.
func claimsFallback(r *harness.ClaimsRun) string {
	halved := map[string]bool{}
	var where []string
	for _, c := range r.Cells {
		for _, e := range c.Events {
			if e.Kind == "group-halved" && !halved[c.Format] {
				halved[c.Format] = true
				where = append(where, fmt.Sprintf("%s, %s", c.Format, e.Text))
			}
		}
	}
	if len(where) == 0 {
		return ""
	}
	return " Groups that don't divide an input width are halved, for every method alike (for example " + strings.Join(where, "; ") + "); the average bits count it."
}

// claimsCommand runs the same experiment again: what differs from the built-in one of its
// name stands in options.
func claimsCommand(r *harness.ClaimsRun) string {
	s := &r.Spec
	command := fmt.Sprintf("./tlq claims %s --limit %d --seeds %d --samples %d", s.Name, r.Asked, len(s.Seeds), s.Calibration.Samples)
	builtin, err := harness.LoadClaims(s.Name)
	if err != nil {
		return command
	}
	if s.Calibration.Name != builtin.Calibration.Name {
		command += " --calib " + s.Calibration.Name
	}
	if s.Streams.From != "" {
		command += " --tokens " + s.Streams.From
	}
	if s.GroupFallback != builtin.GroupFallback {
		command += " --group-fallback " + string(s.GroupFallback)
	}
	if !slices.Equal(builtin.Models, s.Models) {
		command += " --models " + strings.Join(s.Models, ",")
	}
	if s.Streams.From == "" && s.Prompts.Split != builtin.Prompts.Split {
		command += " --split " + s.Prompts.Split
	}
	if !slices.Equal(builtin.Settings, s.Settings) {
		var formats, kinds []string
		for _, st := range s.Settings {
			kind := st.Outliers
			if kind == "" {
				kind = "none"
			}
			if !slices.Contains(formats, st.Format) {
				formats = append(formats, st.Format)
			}
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		command += " --formats " + strings.Join(formats, ",") + " --outliers " + strings.Join(kinds, ",")
	}
	if len(builtin.Methods) != len(s.Methods) {
		var names []string
		for _, m := range s.Methods {
			names = append(names, m.ID())
		}
		command += " --methods " + strings.Join(names, ",")
	}
	return command
}
