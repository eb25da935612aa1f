package ptq

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// ParseMethod reads a method from JSON strictly: unknown keys, wrong types and
// trailing text are errors, and so are invalid values.
func ParseMethod(data []byte) (Method, error) {
	var m Method
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Method{}, fmt.Errorf("ptq: method: %w; expected an object with the keys %v", err, methodKeys())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Method{}, errors.New("ptq: method: text follows the JSON object; expected one object")
	}
	return m, m.Validate()
}

// Validate checks every field and lists the valid values of the first bad one.
func (m Method) Validate() error {
	if m.Name == "" {
		return errors.New("ptq: method without a name; expected a short word such as \"tlq\"")
	}
	if err := m.validate(); err != nil {
		return fmt.Errorf("ptq: method %s: %w", m.Name, err)
	}
	return nil
}

func (m Method) validate() error {
	return firstError(
		m.Tokens.validate(),
		oneOf("path.expose", m.Path.Expose, ExposeNone, ExposeLayer, ExposeGroup),
		oneOf("path.target", m.Path.Target, TargetFP, TargetSame),
		m.Search.validate(),
		oneOf("rotate", m.Rotate, RotateNone, RotateHadamard, RotateFolded),
		m.Rounding.validate(),
		oneOf("after", m.After, AfterNone, AfterNormTweaking),
		m.Tweak.validate(m.After),
	)
}

func (t Tokens) validate() error {
	names := t.importanceNames()
	if !(t.Keep >= 0 && t.Keep <= 1) {
		return fmt.Errorf("tokens.keep is %v; expected a fraction from 0 to 1", t.Keep)
	}
	return firstError(
		oneOf("tokens.importance", t.Importance, names...),
		oneOf("tokens.clip", t.Clip, ClipNone, ClipIQR, ClipIQRBoth),
		oneOf("tokens.pool", t.Pool, PoolSample, PoolModality, PoolGlobal),
		oneOf("tokens.weight", t.Weight, append([]string{WeightHard, WeightImportance}, names...)...),
		oneOf("tokens.mass", t.Mass, MassFlat, MassRatio, MassBalanced, MassToken, MassSample),
		oneOf("tokens.floor", t.Floor, FloorNone, FloorMedian),
		oneOf("tokens.answers", t.Answers, RoleKeep, RolePool),
		oneOf("tokens.text", t.Text, RoleDrop, RoleKeep, RoleRatio, RolePool),
		oneOf("tokens.means", t.Means, MeansAll, MeansKept),
		oneOf("tokens.control", t.Control, ControlNone, ControlLeast, ControlShuffled, ControlRandom, ControlFewer),
		oneOf("tokens.rest", t.Rest, RestDrop, RestMass),
		t.validateRest(),
		oneOf("tokens.blank", t.Blank, BlankAlike, BlankZero),
		t.validateJoint(),
		t.Map.validate(t.Weight),
		t.Parts.validate(t.reads("parts")),
		t.Integrate.validate(t.reads("integrated")),
	)
}

// reads reports whether tokens are ranked or weighed by the named importance.
func (t Tokens) reads(name string) bool { return t.Importance == name || t.Weight == name }

// validateRest refuses a rest beside what leaves none.
func (t Tokens) validateRest() error {
	if t.Rest == RestDrop || !t.Mass.joint() && t.Control != ControlFewer {
		return nil
	}
	return fmt.Errorf("tokens.rest is %q with tokens.mass %q and tokens.control %q; expected a mass of its own for each modality and no %q", t.Rest, t.Mass, t.Control, ControlFewer)
}

// validateJoint refuses tokens of fixed weight beside weights that are shares.
func (t Tokens) validateJoint() error {
	if !t.Mass.joint() || t.Answers == RolePool && (t.Text == RolePool || t.Text == RoleDrop) {
		return nil
	}
	return fmt.Errorf("tokens.mass %q weighs the tokens of a sample together, but tokens.answers is %q and tokens.text %q; expected %q for answers, %q or %q for text", t.Mass, t.Answers, t.Text, RolePool, RolePool, RoleDrop)
}

func (m Map) validate(weight string) error {
	set := 0
	for _, on := range []bool{m.Mask != 0, m.Truncate != 0, m.Bins != 0} {
		if on {
			set++
		}
	}
	switch {
	case m == Map{}:
		return nil
	case weight == WeightHard:
		return fmt.Errorf("tokens.map is set but tokens.weight is %q; expected %q or the name of an importance", weight, WeightImportance)
	case !(m.Low >= 0 && m.Low <= m.High && m.High > 0 && m.High <= 1e6):
		return fmt.Errorf("tokens.map.low is %v and high %v; expected 0 ≤ low ≤ high and high above 0 (RSQ: 0.005 and 1)", m.Low, m.High)
	case !(m.Mask >= 0 && m.Mask < 1 && m.Truncate >= 0 && m.Truncate < 1):
		return fmt.Errorf("tokens.map.mask is %v and truncate %v; expected fractions from 0, below 1", m.Mask, m.Truncate)
	case m.Bins < 0 || m.Bins == 1 || m.Bins > 1000:
		return fmt.Errorf("tokens.map.bins is %d; expected 0, or 2 to 1000", m.Bins)
	case m.Quantile != 0 && !(m.Quantile > 0.5 && m.Quantile <= 1):
		return fmt.Errorf("tokens.map.quantile is %v; expected 0, or above 0.5, at most 1", m.Quantile)
	case set > 1:
		return fmt.Errorf("tokens.map.mask, truncate and bins are alternatives; expected at most one of them")
	}
	return nil
}

func (p Parts) validate(read bool) error {
	switch {
	case !read && p.Of == 0 && len(p.Take) == 0:
		return nil
	case !read:
		return fmt.Errorf("tokens.parts belongs to the importance \"parts\"; expected none (tokens.parts.of=0, tokens.parts.take=)")
	case p.Of < 1 || len(p.Take) == 0:
		return fmt.Errorf("tokens.parts.of is %d and take %v; expected a number of parts and those that count, from 0, such as 8 and 0 (RSQ's FirstN)", p.Of, p.Take)
	}
	for i, n := range p.Take {
		if n < 0 || n >= p.Of || slices.Contains(p.Take[:i], n) {
			return fmt.Errorf("tokens.parts.take is %v; expected different parts from 0 to %d", p.Take, p.Of-1)
		}
	}
	return nil
}

func (i Integrate) validate(read bool) error {
	switch {
	case !read && i == Integrate{}:
		return nil
	case !read:
		return fmt.Errorf("tokens.integrate belongs to the importance \"integrated\"; expected none (tokens.integrate.steps=0, tokens.integrate.from=)")
	case i.Steps < 2 || i.Steps > 1000:
		return fmt.Errorf("tokens.integrate.steps is %d; expected 2 to 1000 for the importance \"integrated\" (published with 32)", i.Steps)
	}
	return oneOf("tokens.integrate.from", i.From, FromPath, FromZero)
}

func (s Search) validate() error {
	if s.Points < 1 || s.Points > 1000 {
		return fmt.Errorf("search.points is %d; expected 1 to 1000", s.Points)
	}
	if smooth := s.Kind == SearchSmooth; smooth && !(s.Alpha > 0 && s.Alpha <= 1) {
		return fmt.Errorf("search.alpha is %v; expected an exponent above 0, at most 1, for search.kind %q", s.Alpha, s.Kind)
	} else if !smooth && s.Alpha != 0 {
		return fmt.Errorf("search.alpha is %v; expected 0 or none: only search.kind %q has one exponent", s.Alpha, SearchSmooth)
	}
	for i, site := range s.Sites {
		if err := oneOf("search.sites", site, models.Sites()...); err != nil {
			return err
		}
		for _, other := range s.Sites[:i] {
			if site == other {
				return fmt.Errorf("search.sites names %q twice", site)
			}
		}
	}
	return firstError(
		oneOf("search.kind", s.Kind, SearchNone, SearchSmooth, SearchGrid),
		oneOf("search.metric", s.Metric, MAE, MSE),
		oneOf("search.inspect", s.Inspect, InspectBlock, InspectLinear),
	)
}

func (r Rounding) validate() error {
	solver := r.Kind != RoundNearest
	switch {
	case solver && (r.Block < 1 || !(r.Damp > 0 && r.Damp <= 1)):
		return fmt.Errorf("rounding.block is %d and rounding.damp %v; expected 1 or more (usually 128) and a fraction above 0, at most 1 (usually 0.01), for rounding.kind %q", r.Block, r.Damp, r.Kind)
	case solver && r.Clip != ClipOff:
		return fmt.Errorf("rounding.clip is %q; expected none with rounding.kind %q", r.Clip, r.Kind)
	case r.Kind == RoundGPTAQ && !(r.Drift > 0 && r.Drift <= 1):
		return fmt.Errorf("rounding.drift is %v; expected a weight above 0, at most 1 (published with 0.25), for rounding.kind %q", r.Drift, r.Kind)
	case r.Kind != RoundGPTAQ && r.Drift != 0:
		return fmt.Errorf("rounding.drift is %v; expected none: it belongs to rounding.kind %q", r.Drift, RoundGPTAQ)
	case !solver && (r.Block != 0 || r.Damp != 0 || r.ActOrder || r.StaticGroups || r.Grid != ""):
		return fmt.Errorf("rounding.block, damp, act_order, static_groups and grid belong to rounding.kind %q; expected none with %q", RoundGPTQ, r.Kind)
	}
	return firstError(
		oneOf("rounding.kind", r.Kind, RoundNearest, RoundGPTQ, RoundGPTAQ),
		oneOf("rounding.clip", r.Clip, ClipOff, ClipOutput),
		oneOf("rounding.grid", r.Grid, "", kernels.GridRange, kernels.GridGPTQ, kernels.GridQuaRot),
	)
}

// solves reports whether rounding reads a Hessian of weighted tokens.
func (r Rounding) solves() bool { return r.Kind != RoundNearest }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
