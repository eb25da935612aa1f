package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/ptq"
)

// ClaimsSpec is an experiment that decides claims: which method is better than which
// other, in which setting, with the calibration seed as a unit of its own. It asks
// every cell the same questions, or has it predict the same token streams, and keeps KL,
// NLL and accuracy of each alone, so that hundreds of cells fit where [Plan] would write a
// report on each.
type ClaimsSpec struct {
	Name     string         `json:"name"`
	Models   []string       `json:"models"`
	Settings []ClaimSetting `json:"settings"`
	Methods  []MethodRef    `json:"methods"`
	Families []ClaimFamily  `json:"families"`
	Prompts  Prompts        `json:"prompts,omitzero"` // with their choices
	// Streams are asked instead of Prompts where they are named: every predicted token
	// counts, accuracy is the share of right next tokens, and a stream is a cluster.
	Streams Streams `json:"streams,omitzero"`
	// GroupFallback says what a group size that divides no input width does.
	GroupFallback ptq.GroupFallback `json:"group_fallback,omitempty"`
	// Calibration and Seeds name the samples of each cell. Calibration.Name may be all
	// that [Model.CalibrationFrom] reads.
	Calibration Calibration `json:"calibration"`
	Seeds       []uint64    `json:"seeds"`
	Level       float64     `json:"level"` // of the intervals; 0: 0.95
}

// ClaimSetting is a format, with outliers injected or not.
type ClaimSetting struct {
	Format   string `json:"format"`
	Outliers string `json:"outliers,omitempty"` // "": none
}

// String is "w4a8" or "w4a8 with channel outliers".
func (s ClaimSetting) String() string {
	if s.Outliers == "" {
		return s.Format
	}
	return s.Format + " with " + s.Outliers + " outliers"
}

// ClaimFamily is a question and the claims that answer it: A is better than B. Holm's
// correction runs over a family's claims in all models and settings, per metric.
type ClaimFamily struct {
	Name     string      `json:"name"`
	Question string      `json:"question"`
	Claims   [][2]string `json:"claims"` // method A, method B
}

// The families that built-in experiments decide; each keeps what its experiment's
// methods can answer.
var claimFamilies = []ClaimFamily{
	{"baselines", "Does a search beat rounding to nearest?", [][2]string{
		{"smoothquant", "rtn"}, {"awq", "rtn"}, {"mbq", "rtn"}, {"qig", "rtn"}, {"tlq", "rtn"}, {"answers", "rtn"},
	}},
	{"modality", "Does it help to weigh modalities?", [][2]string{{"mbq", "awq"}, {"answers", "mbq"}, {"qig", "mbq"}}},
	{"tokens", "Does it help to select vision tokens by importance?", [][2]string{
		{"tlq", "mbq"}, {"tlq", "answers"}, {"tlq", "tlq-random"}, {"tlq", "tlq-least"}, {"tlq", "tlq-shuffled"}, {"tlq", "tlq-fewer"},
	}},
	{"exposure", "Does it help to calibrate on the quantized path?", [][2]string{
		{"mbq-distort", "mbq"}, {"tlq", "tlq-unexposed"}, {"tlq", "tlq-layer"}, {"tlq", "tlq-same"}, {"tlq", "mbq-distort"},
	}},
}

// textFamilies are the questions where there are no pictures, so that every predicted
// token is an answer. MBQ is AWQ with absolute error there, and TLQ, which keeps all answers
// with weight 1, is MBQ on the quantized path: that these are identical is checked, not
// assumed.
var textFamilies = []ClaimFamily{
	{"baselines", "Does a search beat rounding to nearest?", [][2]string{{"smoothquant", "rtn"}, {"awq", "rtn"}, {"mbq", "rtn"}}},
	{"search", "Does absolute error, or the quantized path, serve the search?", [][2]string{{"mbq", "awq"}, {"mbq-distort", "mbq"}}},
	{"tokens", "Is TLQ anything but MBQ on the quantized path where all tokens are answers?", [][2]string{{"tlq", "mbq-distort"}, {"answers", "mbq-distort"}}},
	{"rounding", "Does solving for the weights, or rotating them, beat rounding to nearest?", [][2]string{
		{"gptq", "rtn"}, {"rsq", "rtn"}, {"quarot-rtn", "rtn"}, {"quarot", "rtn"}, {"rsq", "gptq"}, {"quarot", "gptq"},
	}},
}

// textMethods are what makes sense without pictures.
var textMethods = []string{"rtn", "smoothquant", "awq", "mbq", "mbq-distort", "tlq", "answers", "gptq", "rsq", "quarot-rtn", "quarot"}

// decisiveMethods are what the main claims speak of, controls last.
var decisiveMethods = []string{"rtn", "smoothquant", "awq", "mbq", "qig", "tlq", "answers", "tlq-random", "tlq-least", "tlq-shuffled", "tlq-fewer"}

// ClaimsText is the built-in experiment on language models alone.
const ClaimsText = "text"

// ClaimSpecs lists the built-in experiments that decide claims.
func ClaimSpecs() []string {
	return []string{"decisive", "stress", "tokens", "exposure", "methods", ClaimsText}
}

// LoadClaims returns a built-in experiment:
//
//	decisive  the main claims: seven formats, three of them with outliers too
//	stress    formats in which models break, and outliers of three kinds
//	tokens    what is kept, by which importance, from which pool, beside the controls
//	exposure  paths and targets of the search
//	methods   every method of the table
//	text      a language model alone: models, calibration and token streams are the user's
func LoadClaims(name string) (ClaimsSpec, error) {
	s := ClaimsSpec{
		Name: name, Models: []string{"zoo:qwen2vl-nano"},
		Prompts:     Prompts{Split: string(datasets.Test), N: 1200},
		Calibration: DefaultSpec().Calibration,
	}
	for seed := range uint64(8) {
		s.Seeds = append(s.Seeds, seed)
	}
	plain := func(formats ...string) {
		for _, f := range formats {
			s.Settings = append(s.Settings, ClaimSetting{Format: f})
		}
	}
	switch name {
	case "decisive":
		plain("w4a8", "w4a6", "w4a4", "w3a16g16", "w4a16g64", "w3a16g64", "w2a16g32")
		for _, f := range []string{"w4a8", "w4a4", "w3a16g16"} {
			s.Settings = append(s.Settings, ClaimSetting{f, "channel"})
		}
		s.named(decisiveMethods...)
	case "stress":
		plain("w4a6", "w4a4", "w4a8g64", "w2a16g32")
		for _, kind := range []string{"channel", "modality", "sink"} {
			s.Settings = append(s.Settings, ClaimSetting{"w4a8", kind}, ClaimSetting{"w4a4", kind})
		}
		s.named("rtn", "smoothquant", "awq", "mbq", "tlq", "answers", "tlq-random")
	case "tokens":
		plain("w4a8", "w4a4", "w3a16g16")
		s.named("rtn", "mbq", "tlq", "answers", "tlq-random", "tlq-least", "tlq-shuffled", "tlq-fewer")
		s.Methods = append(s.Methods, tokenVariants()...)
	case "exposure":
		plain("w4a8", "w4a4", "w3a16g16", "w2a16g32")
		s.named("rtn", "mbq", "mbq-distort", "tlq")
		s.Methods = append(s.Methods,
			variant("tlq", "tlq-unexposed", "TLQ on the unquantized path", "path.expose=none"),
			variant("tlq", "tlq-layer", "TLQ exposed layer by layer", "path.expose=layer"),
			variant("tlq", "tlq-same", "TLQ, target on the exposed input", "path.target=same"))
	case "methods":
		plain("w4a8", "w3a16g16")
		for _, m := range ptq.Methods() {
			s.Methods = append(s.Methods, MethodRef{Name: m.Name})
		}
	case ClaimsText:
		plain("w4a8", "w4a6", "w4a4", "w3a16g16", "w4a16g64")
		s.named(textMethods...)
		s.Models, s.Prompts, s.Calibration, s.GroupFallback = nil, Prompts{}, Calibration{Samples: 16}, ptq.HalveGroup
		s.Families = textFamilies
		return s, nil
	default:
		return s, fmt.Errorf("harness: unknown experiment %q: %s", name, expected(name, ClaimSpecs()))
	}
	s.Families = s.answerable(claimFamilies)
	return s, nil
}

// named adds methods of the table.
func (s *ClaimsSpec) named(names ...string) {
	for _, n := range names {
		s.Methods = append(s.Methods, MethodRef{Name: n})
	}
}

// variant is a method of the table with settings changed.
func variant(of, name, title string, settings ...string) MethodRef {
	m, err := ptq.FindMethod(of)
	for _, x := range settings {
		err = errors.Join(err, m.Set(x))
	}
	if err != nil {
		panic(fmt.Sprintf("harness: variant %s: %v", name, err)) // settings written above
	}
	m.Name, m.Title = name, title
	return MethodRef{Inline: &m}
}

// tokenVariants are TLQ with other tokens.
func tokenVariants() []MethodRef {
	var out []MethodRef
	for _, keep := range []string{"0.05", "0.5", "1"} {
		out = append(out, variant("tlq", "tlq-keep-"+keep, "TLQ, "+keep+" of the vision tokens", "tokens.keep="+keep))
	}
	return append(out,
		variant("tlq", "tlq-gradient", "TLQ, selected by mean |g|", "tokens.importance=gradient"),
		variant("tlq", "tlq-error", "TLQ, selected by mean |e|", "tokens.importance=error"),
		variant("tlq", "tlq-hard", "TLQ, selected tokens weigh alike", "tokens.weight=hard"),
		variant("tlq", "tlq-global", "TLQ, one pool over all samples", "tokens.pool=global"),
		variant("tlq", "tlq-text", "TLQ, other text by its gradient", "tokens.text=ratio"),
		variant("tlq", "tlq-mse", "TLQ, squared error", "search.metric=mse"))
}

// answerable keeps the claims between methods that the experiment has, and adds a
// family for its variants of TLQ.
func (s *ClaimsSpec) answerable(families []ClaimFamily) []ClaimFamily {
	has := func(name string) bool {
		return slices.ContainsFunc(s.Methods, func(r MethodRef) bool { return r.ID() == name })
	}
	var out []ClaimFamily
	claimed := map[string]bool{}
	for _, f := range families {
		own := ClaimFamily{Name: f.Name, Question: f.Question}
		for _, c := range f.Claims {
			if has(c[0]) && has(c[1]) {
				own.Claims = append(own.Claims, c)
				claimed[c[0]], claimed[c[1]] = true, true
			}
		}
		if len(own.Claims) > 0 {
			out = append(out, own)
		}
	}
	rest := ClaimFamily{Name: "variants", Question: "Does another setting of TLQ do better than its default?"}
	others := ClaimFamily{Name: "others", Question: "Do the other methods beat rounding to nearest?"}
	for _, r := range s.Methods {
		switch name := r.ID(); {
		case claimed[name] || name == "rtn":
		case r.Inline != nil && strings.HasPrefix(name, "tlq-") && has("tlq"):
			rest.Claims = append(rest.Claims, [2]string{name, "tlq"})
		case has("rtn"):
			others.Claims = append(others.Claims, [2]string{name, "rtn"})
		}
	}
	for _, f := range []ClaimFamily{rest, others} {
		if len(f.Claims) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// Only keeps some methods, and the claims that they can answer; an unknown name is an
// error that lists the experiment's.
func (s *ClaimsSpec) Only(names []string) error {
	var kept []MethodRef
	var all []string
	for _, r := range s.Methods {
		all = append(all, r.ID())
	}
	for _, n := range names {
		i := slices.Index(all, n)
		if i < 0 {
			return fmt.Errorf("harness: experiment %s has no method %q: %s", s.Name, n, expected(n, all))
		}
		kept = append(kept, s.Methods[i])
	}
	s.Methods = kept
	var families []ClaimFamily
	for _, f := range s.Families {
		f.Claims = slices.DeleteFunc(slices.Clone(f.Claims), func(c [2]string) bool {
			return !slices.Contains(names, c[0]) || !slices.Contains(names, c[1])
		})
		if len(f.Claims) > 0 {
			families = append(families, f)
		}
	}
	s.Families = families
	return nil
}

// Filled returns the experiment with what depends on its models, as [Spec.Filled] does.
func (s ClaimsSpec) Filled(root string) ClaimsSpec {
	if s.Prompts.N > 0 && len(s.Prompts.Tasks) == 0 {
		s.Prompts.Tasks = TrainedTasks(root, s.Models...)
	}
	s.Calibration.Name = calibrationSet(s.Calibration.Name, root, s.Models...)
	return s
}

// validate checks every name and number.
func (s ClaimsSpec) validate(root string) error {
	if len(s.Seeds) < 2 {
		return fmt.Errorf("harness: %d calibration seeds: expected at least 2, since the seed is the unit of the intervals", len(s.Seeds))
	}
	if err := firstError(checkSeeds(len(s.Seeds)), checkSamples("calibration.samples", s.Calibration.Samples)); err != nil {
		return fmt.Errorf("harness: experiment %s: %w", s.Name, err)
	}
	if len(s.Families) == 0 {
		return fmt.Errorf("harness: experiment %s has no claims: its methods are not compared with each other", s.Name)
	}
	err := firstError(
		checkList("models", s.Models, func(name string) error { _, err := ModelDir(root, name); return err }),
		checkList("settings", s.Settings, func(x ClaimSetting) error { return CheckFormat(x.Format) }),
		checkList("seeds", s.Seeds, func(uint64) error { return nil }),
		Spec{Methods: s.Methods}.validateMethods(),
	)
	if err != nil {
		return fmt.Errorf("harness: experiment %s: %w", s.Name, err)
	}
	if s.GroupFallback != ptq.RefuseGroup && s.GroupFallback != ptq.HalveGroup {
		return fmt.Errorf("harness: experiment %s: group fallback %q: expected \"\" or %q", s.Name, s.GroupFallback, ptq.HalveGroup)
	}
	for _, f := range s.Families {
		for _, c := range f.Claims {
			for _, name := range c {
				if !slices.ContainsFunc(s.Methods, func(r MethodRef) bool { return r.ID() == name }) {
					return fmt.Errorf("harness: experiment %s: family %s names %q, which is none of its methods", s.Name, f.Name, name)
				}
			}
		}
	}
	if s.Calibration.Name == "" {
		return fmt.Errorf("harness: experiment %s has no calibration samples: expected --calib FILE.safetensors[:TENSOR] of token streams, or another set", s.Name)
	}
	return s.validateAsked()
}

// validateAsked checks what the cells are asked.
func (s ClaimsSpec) validateAsked() error {
	switch {
	case s.Streams.From != "" && s.Streams.N < 0:
		return fmt.Errorf("harness: experiment %s: %d streams: expected at least 2, or 0 for all", s.Name, s.Streams.N)
	case s.Streams.From != "":
		return nil
	case s.Prompts.N == 0:
		return fmt.Errorf("harness: experiment %s asks nothing: expected --tokens FILE.safetensors[:TENSOR] of token streams", s.Name)
	}
	return s.Prompts.validate()
}
