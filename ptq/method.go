package ptq

import (
	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// Method is a quantization method as plain data: which tokens count, on which
// path inputs are taken, what is searched, how weights are rounded. The methods
// of the literature are the values listed by [Methods]; another value is another
// method. All fields must be set; there are no hidden defaults.
type Method struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"` // for tables and figures
	Paper    string   `json:"paper"` // where it is described
	Tokens   Tokens   `json:"tokens"`
	Path     Path     `json:"path"`
	Search   Search   `json:"search"`
	Rotate   Rotate   `json:"rotate"`
	Rounding Rounding `json:"rounding"`
	After    After    `json:"after"`
	Tweak    Tweak    `json:"tweak,omitzero"`
}

// Tokens says which tokens enter the search objective and with which weight.
//
// Vision tokens are selected within pools by their importance. The weights of the
// selected are scaled so that together they weigh what all tokens of their
// modality in the pool weighed before the selection: their number times the
// modality's mass. With Keep 1 and Weight hard every token then weighs exactly
// its modality's mass, which is MBQ.
type Tokens struct {
	// Importance ranks tokens for the selection: the name of an [Importance].
	Importance string `json:"importance"`
	// Clip tames heavy tails of importance and weights, per sample.
	Clip Clip `json:"clip"`
	// Keep is the fraction of each pool that is selected, in [0, 1], rounded up; 0
	// leaves pooled tokens out.
	Keep float64 `json:"keep"`
	// Pool says which tokens compete.
	Pool Pool `json:"pool"`
	// Weight of the selected tokens before scaling: "hard" (all alike),
	// "importance" (by the same values as the selection), or the name of another
	// [Importance].
	Weight string `json:"weight"`
	// Mass of a modality relative to answer tokens.
	Mass Mass `json:"mass"`
	// Floor of the mass over layers.
	Floor Floor `json:"floor"`
	// Answers says how answer tokens take part.
	Answers Role `json:"answers"`
	// Text says how other text takes part.
	Text Role `json:"text"`
	// Means says over which tokens the channel means m are taken.
	Means Means `json:"means"`
	// Control turns the method into a control of itself.
	Control Control `json:"control"`
	// Rest says what the tokens weigh that are not selected.
	Rest Rest `json:"rest,omitempty"`
	// Refresh takes gradients and errors anew for every layer, on the streams that the layers
	// calibrated before it left, instead of once in the unquantized model and in a model that is
	// rounded to nearest. (Masses and roles that are ratios stay those of the unquantized model.)
	Refresh bool `json:"refresh,omitempty"`
	// Blank is what tokens weigh whose weights are zero throughout.
	Blank Blank `json:"blank,omitempty"`
	// Map turns weights into ranks of a sample, as RSQ does; zero: none.
	Map Map `json:"map,omitzero"`
	// Parts serves the importance "parts"; zero: none.
	Parts Parts `json:"parts,omitzero"`
	// Integrate serves the importance "integrated"; zero: none.
	Integrate Integrate `json:"integrate,omitzero"`

	own []Importance // beside the built-in ones: see Use
}

// Clip is a bound on importance values.
type Clip string

// Clips.
const (
	ClipNone Clip = "none"
	// ClipIQR lowers values above Q3 + 1.5·(Q3 − Q1) to that bound. Quartiles are
	// taken over the sample's tokens in the pool and interpolated linearly between
	// order statistics at (n−1)·p (numpy's default).
	ClipIQR Clip = "iqr"
	// ClipIQRBoth also raises values below Q1 − 1.5·(Q3 − Q1) to that bound (QIG).
	ClipIQRBoth Clip = "iqr-both"
)

// Pool is the set of tokens that compete for selection.
type Pool string

// Pools.
const (
	PoolSample   Pool = "sample"   // all pooled tokens of one sample
	PoolModality Pool = "modality" // the tokens of one modality of one sample
	PoolGlobal   Pool = "global"   // all pooled tokens of all samples
)

// Weights that are not an importance's name.
const (
	WeightHard       = "hard"
	WeightImportance = "importance"
)

// Mass is the weight of a modality's tokens relative to answer tokens, which
// weigh 1.
type Mass string

// Masses.
const (
	MassFlat Mass = "flat" // 1
	// MassRatio is MBQ's: mean|g| over the modality's tokens divided by that over
	// answer tokens, per layer and site, samples counting alike.
	MassRatio Mass = "ratio"
	// MassBalanced is that ratio between modalities as wholes instead of tokens: all
	// tokens of a modality together weigh the ratio times what all answer tokens
	// weigh, in the samples as embedded. MBQ's released code does so with squared errors.
	MassBalanced Mass = "balanced"
	// MassToken leaves the balance between modalities to the weights: the kept tokens of a
	// sample weigh as much as there are pooled ones, 1 on average where all are kept (RSQ).
	MassToken Mass = "token"
	// MassSample is that with samples counting alike: the kept tokens of each weigh 1 in all
	// (QIG).
	MassSample Mass = "sample"
)

// joint reports whether a sample's modalities are weighed together.
func (m Mass) joint() bool { return m == MassToken || m == MassSample }

// Rest is the weight of pooled tokens that are not selected.
type Rest string

// Weights of the rest.
const (
	RestDrop Rest = ""     // 0
	RestMass Rest = "mass" // their modality's mass, beside the selected tokens' share
)

// Blank is the weight of tokens whose weights are zero throughout.
type Blank string

// Weights of blank tokens.
const (
	BlankAlike Blank = ""     // they weigh alike
	BlankZero  Blank = "zero" // they weigh nothing (QIG's released code)
)

// Map is RSQ's map of weights w, per sample over all of its pooled tokens (its released
// code, input_weighting_module.py):
//
//	w ← clamp( Low + (High − Low)·(w − min w)/(max w − min w), Low, High )
//
// and High where all are equal. At most one of Mask, Truncate and Bins is set.
type Map struct {
	Low  float64 `json:"low"`  // of the least important token; 1 with High 1 makes all alike
	High float64 `json:"high"` // of the most important one, above 0
	// Quantile q, above 1/2, replaces the extremes by the q and 1−q quantiles; 0: none.
	Quantile float64 `json:"quantile,omitempty"`
	Mask     float64 `json:"mask,omitempty"`     // that fraction of tokens, the lowest, weighs 0, all others 1
	Truncate float64 `json:"truncate,omitempty"` // that fraction of tokens, the lowest, weighs 0
	// Bins cuts weights at their quantiles i/Bins into as many classes, of weights evenly
	// spaced from Low to High.
	Bins int `json:"bins,omitempty"`
}

// Parts says which of the equal parts that a sample is cut into count (RSQ's FirstN and
// First&LastN).
type Parts struct {
	Of   int   `json:"of"`             // number of parts
	Take []int `json:"take,omitempty"` // those that count, from 0
}

// Integrate is the path of QIG's integrated gradients, x₀ + (k/(Steps−1))·(x − x₀) for
// k = 0 … Steps−1.
type Integrate struct {
	Steps int  `json:"steps"`
	From  From `json:"from"`
}

// From is where the path of integrated gradients begins and ends.
type From string

// Beginnings.
const (
	// FromPath goes from the site's input on the method's path to that of the unquantized
	// model, and takes the rounded module as a constant (QIG with rounded activations).
	FromPath From = "path"
	// FromZero goes from zero to the input of the unquantized model; weights alone are
	// rounded, and both modules are differentiated (QIG for weights alone).
	FromZero From = "zero"
)

// Floor is a lower bound on a modality's mass.
type Floor string

// Floors.
const (
	FloorNone   Floor = "none"
	FloorMedian Floor = "median" // the median over layers (MBQ)
)

// Role says how a modality takes part in the objective.
type Role string

// Roles.
const (
	RoleDrop  Role = "drop"  // weight 0
	RoleKeep  Role = "keep"  // all tokens, weight 1
	RoleRatio Role = "ratio" // all tokens, weighing their gradient ratio as vision tokens do under MassRatio
	RolePool  Role = "pool"  // selected within pools, as vision tokens are
)

// Means is the set of tokens that channel means are taken over.
type Means string

// Token sets for channel means.
const (
	MeansAll  Means = "all"  // all real tokens
	MeansKept Means = "kept" // the tokens of the token-level calibration set
)

// Control replaces the selection by one that should do worse if the method's
// reasons are right.
type Control string

// Controls. A pool that offers nothing to select by is kept whole under all of
// them, so that they keep as many tokens as the method itself.
const (
	ControlNone     Control = "none"
	ControlLeast    Control = "least"    // select the least important tokens
	ControlShuffled Control = "shuffled" // permute importance and weights among the tokens of a modality of a sample
	ControlRandom   Control = "random"   // select random tokens of a pool; they keep their own weights
	// ControlFewer spends the same number of tokens on fewer samples: whole samples
	// in random order, with all tokens that the method counts or selects from, until as
	// many are taken as the method keeps; the last sample gives its first tokens.
	// Channel means are taken over those samples only.
	ControlFewer Control = "fewer"
)

// Path says where the search takes its inputs and its targets from.
type Path struct {
	// Expose is how far inputs follow the quantized inference path.
	Expose Expose `json:"expose"`
	// Target is the path whose output the quantized module should reproduce.
	Target Target `json:"target"`
}

// Expose is how far inputs follow the quantized inference path.
type Expose string

// Exposures.
const (
	ExposeNone  Expose = "none"  // inputs of the unquantized model
	ExposeLayer Expose = "layer" // all earlier layers quantized
	ExposeGroup Expose = "group" // all earlier layers and all earlier groups of this layer quantized
)

// Target is the path of the search's target.
type Target string

// Targets.
const (
	TargetFP   Target = "fp"   // the unquantized module on the unquantized path's input
	TargetSame Target = "same" // the unquantized module on the same input as the quantized one
)

// Search says how scaling factors are found.
type Search struct {
	Kind SearchKind `json:"kind"`
	// Points is the number of exponents α = k/Points, k = 0 … Points−1.
	Points int `json:"points"`
	// Alpha is the exponent of SearchSmooth, in (0, 1]; otherwise 0.
	Alpha float64 `json:"alpha,omitempty"`
	// Metric is the error of a token.
	Metric Metric `json:"metric"`
	// Inspect is the output at which errors are measured.
	Inspect Inspect `json:"inspect"`
	// Sites that are searched; the others are rounded unscaled.
	Sites []models.Site `json:"sites"`
}

// SearchKind is a way of finding scaling factors.
type SearchKind string

// Search kinds.
const (
	SearchNone SearchKind = "none" // no scaling
	// SearchSmooth is SmoothQuant's closed form: see [SmoothFactors]. It reads no
	// token weights; maxima are taken over all real tokens.
	SearchSmooth SearchKind = "smooth"
	SearchGrid   SearchKind = "grid" // the first strict minimum over the exponents
)

// Metric is the error of a token, summed over channels.
type Metric string

// Metrics.
const (
	MAE Metric = "mae" // Σ|e|
	MSE Metric = "mse" // Σe²
)

// Inspect is the output at which the search measures errors.
type Inspect string

// Inspected outputs.
const (
	// InspectBlock is the attention's output for qkv, the MLP's for gate_up and
	// the linear's own for o and down; linears behind the searched ones stay
	// unquantized.
	InspectBlock  Inspect = "block"
	InspectLinear Inspect = "linear" // the output of the searched linears themselves
)

// Rotate is an orthogonal transform of the residual stream before everything
// else.
type Rotate string

// Rotations.
const (
	RotateNone Rotate = "none"
	// RotateHadamard is QuaRot's: see [Rotation]. [RotateFolded] is its offline part.
	RotateHadamard Rotate = "hadamard"
)

// Rounding says how scaled weights are rounded. Steps and zero points are those of
// the format, whatever the algorithm, unless Grid names another rule.
type Rounding struct {
	Kind RoundingKind `json:"kind"`
	// Clip searches bounds for weights before they are rounded to nearest.
	Clip WeightClip `json:"clip,omitempty"`
	// Block is the number of columns that RoundGPTQ handles before it updates all
	// others; 0 for other kinds, as the fields below.
	Block int `json:"block,omitempty"`
	// Damp times the mean of the Hessian's diagonal is added to the diagonal, up to 51
	// times where the Hessian needs it.
	Damp float64 `json:"damp,omitempty"`
	// ActOrder rounds columns in order of falling Hessian diagonal.
	ActOrder bool `json:"act_order,omitempty"`
	// StaticGroups finds the grids of all groups before the first column is rounded.
	// ActOrder with groups needs it, so that groups stay runs of columns.
	StaticGroups bool `json:"static_groups,omitempty"`
	// Drift is the weight of GPTAQ's correction, its α: 0.25 as published. RoundGPTAQ only.
	Drift float64 `json:"drift,omitempty"`
	// Grid is the rule of steps and zero points; empty: the format's.
	Grid kernels.GridKind `json:"grid,omitempty"`
}

// WeightClip is a search for bounds on weights.
type WeightClip string

// Clip searches.
const (
	ClipOff WeightClip = ""
	// ClipOutput is AWQ's ([kernels.ClipGroups]): per group the least error of the
	// group's output on up to 1,023 evenly spaced real tokens of the method's path; q_proj
	// and k_proj are left out.
	ClipOutput WeightClip = "output"
)

// RoundingKind is a rounding algorithm.
type RoundingKind string

// Rounding algorithms.
const (
	RoundNearest RoundingKind = "nearest"
	// RoundGPTQ is [kernels.SolveColumns] with the Hessian of the path's inputs,
	// weighted by the token-level calibration set.
	RoundGPTQ RoundingKind = "gptq"
	// RoundGPTAQ is that with GPTAQ's correction for the drift between the unquantized
	// path's inputs and the method's.
	RoundGPTAQ RoundingKind = "gptaq"
)

// After is what is tuned once weights are rounded.
type After string

// Tunings.
const (
	AfterNone After = "none"
	// AfterNormTweaking tunes the gains of the rounded layer's norms, as Method.Tweak says.
	AfterNormTweaking After = "norm-tweaking"
)

// NeedsTokens reports whether m reads a token-level calibration set: whether
// [Calibration.Importance] and [SelectTokens] must run before layers are
// calibrated.
func (m Method) NeedsTokens() bool { return m.Search.Kind == SearchGrid || m.Rounding.solves() }

// NeedsSamples reports whether m looks at calibration samples at all; what does
// not is [QuantizeLayer] on every layer.
func (m Method) NeedsSamples() bool {
	return m.Search.Kind != SearchNone || m.Rounding.solves() || m.Rounding.Clip != ClipOff || m.After != AfterNone
}

// NeedsGradients reports whether m reads the result of [Calibration.Gradients].
func (m Method) NeedsGradients() bool {
	if !m.NeedsTokens() {
		return false
	}
	for _, name := range []string{m.Tokens.Importance, m.Tokens.Weight} {
		if m.Tokens.Needs(name).Gradient {
			return true
		}
	}
	return m.Tokens.needsRatios()
}
