package ptq

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
)

// Methods lists the methods of the literature that are built, in the order in
// which tables show them, and after them the controls of TLQ: what it must beat
// if its reasons are right. The slice is the caller's own.
func Methods() []Method {
	return []Method{
		roundToNearest(), smoothQuant(), awq(), awqClip(), mbq(), mbqDistort(), qig(), qigWeights(), tlq(),
		gptq(), gptqTweaked(), gptaq(), rsq(), vlmq(), vlmqGPTAQ(), tlqGPTQ(),
		quaRotNearest(), quaRot(), quaRotTLQ(),
		answersOnly(), tlqRandom(), tlqShuffled(), tlqLeast(), tlqFewer(),
	}
}

// allTokens counts every token alike, padding excepted.
func allTokens() Tokens {
	return Tokens{
		Importance: "uniform", Clip: ClipNone, Keep: 1, Pool: PoolSample, Weight: WeightHard, Mass: MassFlat, Floor: FloorNone,
		Answers: RoleKeep, Text: RoleKeep, Means: MeansAll, Control: ControlNone,
	}
}

// gridSearch is the scale search that AWQ introduced, over all sites.
func gridSearch(metric Metric) Search {
	return Search{Kind: SearchGrid, Points: 20, Metric: metric, Inspect: InspectBlock, Sites: models.Sites()}
}

// roundToNearest searches nothing, so nothing reads the token settings.
func roundToNearest() Method {
	return Method{
		Name:     "rtn",
		Title:    "Round to nearest",
		Paper:    "the common baseline; quantizers as in MBQ, arXiv:2412.19509",
		Tokens:   allTokens(),
		Path:     Path{Expose: ExposeNone, Target: TargetFP},
		Search:   Search{Kind: SearchNone, Points: 1, Metric: MAE, Inspect: InspectBlock, Sites: models.Sites()},
		Rotate:   RotateNone,
		Rounding: Rounding{Kind: RoundNearest},
		After:    AfterNone,
	}
}

// smoothQuant scales what norms feed by a closed form of channel maxima. It is
// published for rounded activations; at a16 it only moves weights' ranges.
func smoothQuant() Method {
	m := roundToNearest()
	m.Name, m.Title = "smoothquant", "SmoothQuant"
	m.Paper = "arXiv:2211.10438, α = 0.5; published for weights and activations"
	m.Search = Search{Kind: SearchSmooth, Points: 1, Alpha: 0.5, Metric: MAE, Inspect: InspectBlock, Sites: []models.Site{models.QKV, models.GateUp}}
	return m
}

// awq is AWQ's scale search: squared error of all tokens. It is published for
// weights alone; with rounded activations the engine's search defines it.
func awq() Method {
	m := roundToNearest()
	m.Name, m.Title = "awq", "AWQ (scale search)"
	m.Paper = "arXiv:2306.00978, without its clip search; published for weights alone"
	m.Search = gridSearch(MSE)
	return m
}

// awqClip is AWQ whole. No other method clips weights, so it stands beside them
// as a method of its own.
func awqClip() Method {
	m := awq()
	m.Name, m.Title = "awq-clip", "AWQ (scale and clip search)"
	m.Paper = "arXiv:2306.00978; published for weights alone"
	m.Rounding.Clip = ClipOutput
	return m
}

// mbq balances the modalities: a vision token weighs r, an answer token 1.
func mbq() Method {
	return Method{
		Name:  "mbq",
		Title: "MBQ",
		Paper: "arXiv:2412.19509: reweighted, absolute error, unexposed, as its configurations are published",
		Tokens: Tokens{
			Importance: "uniform", Clip: ClipNone, Keep: 1, Pool: PoolModality, Weight: WeightHard, Mass: MassRatio, Floor: FloorMedian,
			Answers: RoleKeep, Text: RoleDrop, Means: MeansAll, Control: ControlNone,
		},
		Path:     Path{Expose: ExposeNone, Target: TargetFP},
		Search:   gridSearch(MAE),
		Rotate:   RotateNone,
		Rounding: Rounding{Kind: RoundNearest},
		After:    AfterNone,
	}
}

// mbqDistort is MBQ with its option to search on the quantized path.
func mbqDistort() Method {
	m := mbq()
	m.Name, m.Title = "mbq-distort", "MBQ, distorted inputs"
	m.Paper = "arXiv:2412.19509 with its released code's option distort"
	m.Path.Expose = ExposeGroup
	return m
}

// qig weighs every token, question and padding-free text too, by the integrated gradients
// of the error that rounding makes at the very group that is searched; samples count alike.
// Deviation: in front of the first layer's first group both streams are equal and all weights
// zero, and the released code then takes the first exponent; here tokens weigh alike there.
func qig() Method {
	return Method{
		Name:  "qig",
		Title: "QIG",
		Paper: "its released code, ucas-xiang/QIG, for weights and activations: from the quantized path's input, unclipped; at a16 qig-weights is what is published",
		Tokens: Tokens{
			Importance: "integrated", Clip: ClipNone, Keep: 1, Pool: PoolSample, Weight: WeightImportance, Mass: MassSample, Floor: FloorNone,
			Answers: RolePool, Text: RolePool, Means: MeansAll, Control: ControlNone,
			Integrate: Integrate{Steps: 32, From: FromPath},
		},
		Path:     Path{Expose: ExposeGroup, Target: TargetSame},
		Search:   gridSearch(MAE),
		Rotate:   RotateNone,
		Rounding: Rounding{Kind: RoundNearest},
		After:    AfterNone,
	}
}

// qigWeights is QIG's path for weights alone. Deviation: the released code counts calls
// and weighs vision and answer tokens alike in the first five groups of a process; here
// importance serves all groups.
func qigWeights() Method {
	m := qig()
	m.Name, m.Title = "qig-weights", "QIG, for weights alone"
	m.Paper = "its released code, ucas-xiang/QIG, for weights alone: from zero, clipped, unexposed"
	m.Tokens.Clip, m.Tokens.Integrate.From = ClipIQRBoth, FromZero
	m.Path = Path{Expose: ExposeNone, Target: TargetFP}
	return m
}

// tlq selects by Σ|g·e| and weighs by mean|g|: weighing by the error again would
// count it twice. Answers weigh 1, because gradient weights on them did harm in a
// pilot.
func tlq() Method {
	return Method{
		Name:  "tlq",
		Title: "TLQ (reconstruction)",
		Paper: "reconstruction of arXiv:2602.07899, whose body and code are not public",
		Tokens: Tokens{
			Importance: "gradient*error", Clip: ClipIQR, Keep: 0.25, Pool: PoolModality, Weight: "gradient", Mass: MassRatio, Floor: FloorMedian,
			Answers: RoleKeep, Text: RoleDrop, Means: MeansAll, Control: ControlNone,
		},
		Path:     Path{Expose: ExposeGroup, Target: TargetFP},
		Search:   gridSearch(MAE),
		Rotate:   RotateNone,
		Rounding: Rounding{Kind: RoundNearest},
		After:    AfterNone,
	}
}

// gptq rounds column by column on the quantized path, groups of a layer one after
// the other (the reference's true_sequential, which its successors made the rule),
// with its options act-order and static-groups. Deviations: steps and zero points
// are the format's, as for all other methods.
func gptq() Method {
	m := roundToNearest()
	m.Name, m.Title = "gptq", "GPTQ"
	m.Paper = "arXiv:2210.17323 with act-order, static groups and sequential groups; published for weights alone"
	m.Path.Expose = ExposeGroup
	m.Rounding = Rounding{Kind: RoundGPTQ, Block: 128, Damp: 0.01, ActOrder: true, StaticGroups: true}
	return m
}

// gptaq corrects GPTQ for the drift of its inputs from the unquantized model's.
// Deviations: as gptq, act-order and static groups where its scripts leave them
// off; each linear is damped once, where the authors' driver damps a shared Hessian
// again for every linear that reads it.
func gptaq() Method {
	m := gptq()
	m.Name, m.Title = "gptaq", "GPTAQ"
	m.Paper = "arXiv:2504.02692, α = 0.25, with act-order and static groups"
	m.Rounding.Kind, m.Rounding.Drift = RoundGPTAQ, 0.25
	return m
}

// gptqTweaked tunes the norms behind GPTQ's rounding: see [Tweak].
func gptqTweaked() Method {
	m := gptq()
	m.Name, m.Title = "gptq-tweaked", "Norm tweaking on GPTQ"
	m.Paper = "arXiv:2309.02784 on calibration samples, rate 1e-5 growing sixfold with depth; published for weights alone"
	m.After, m.Tweak = AfterNormTweaking, Tweak{Rate: 1e-5, Scale: 5, Passes: 1}
	return m
}

// rsq weighs tokens in the Hessian of QuaRot by the attention they receive, ranked within
// their sample; all linears of a layer share the weights. The paper's objective would square
// them; its released code, and this, does not. Its other strategies are settings
// (tokens.importance: norm, steady, distance, rarity, parts). Deviations: those of quarot; no
// copies of the samples, shifted in place.
func rsq() Method {
	m := quaRot()
	m.Name, m.Title = "rsq", "RSQ"
	m.Paper = "arXiv:2503.01820: AttnCon, weights from 0.005 to 1, on a rotated model; published for weights alone"
	m.Tokens = shares("attention")
	m.Tokens.Map = Map{Low: 0.005, High: 1}
	return m
}

// shares weighs all tokens of a sample by an importance, 1 on average.
func shares(importance string) Tokens {
	return Tokens{
		Importance: importance, Clip: ClipNone, Keep: 1, Pool: PoolSample, Weight: WeightImportance, Mass: MassToken, Floor: FloorNone,
		Answers: RolePool, Text: RolePool, Means: MeansAll, Control: ControlNone,
	}
}

// vlmq weighs tokens in GPTQ's Hessian by γ², the gradient of the block's error at the
// outputs of the linears that read them. The paper's code is not public: that weights
// are rounded in the block (else the error of the first layer, and its gradient, is zero),
// that the linears of a site share γ, the clip and the normalisation per sample are ours.
func vlmq() Method {
	m := gptq()
	m.Name, m.Title = "vlmq", "VLMQ on GPTQ (reconstruction)"
	m.Paper = "reconstruction of arXiv:2508.03351, whose code is not public; on GPTQ as published at 2 bits"
	m.Tokens = shares("block-error")
	m.Tokens.Clip = ClipIQR
	return m
}

// vlmqGPTAQ is VLMQ on GPTAQ: γ² enters the Hessian and the drift.
func vlmqGPTAQ() Method {
	m := vlmq()
	m.Name, m.Title = "vlmq-gptaq", "VLMQ on GPTAQ (reconstruction)"
	m.Paper = "reconstruction of arXiv:2508.03351, whose code is not public; on GPTAQ as published at 3 bits"
	m.Rounding = gptaq().Rounding
	return m
}

// tlqGPTQ puts TLQ's tokens into GPTQ's Hessian in place of a scale search.
func tlqGPTQ() Method {
	m := gptq()
	m.Name, m.Title = "tlq-gptq", "TLQ's tokens in GPTQ (reconstruction)"
	m.Paper = "GPTQ, arXiv:2210.17323, with the reconstruction of arXiv:2602.07899 as token weights"
	m.Tokens = tlq().Tokens
	return m
}

// answersOnly is TLQ without any vision token in its objective.
func answersOnly() Method {
	m := tlq()
	m.Name, m.Title = "answers", "Answer tokens only (control)"
	m.Paper = "control: TLQ's search on answer tokens alone"
	m.Tokens.Importance, m.Tokens.Clip, m.Tokens.Weight, m.Tokens.Keep = "uniform", ClipNone, WeightHard, 0
	m.Tokens.Mass, m.Tokens.Floor = MassFlat, FloorNone
	return m
}

// control is TLQ with a control of its selection.
func control(name, title, paper string, c Control) Method {
	m := tlq()
	m.Name, m.Title, m.Paper, m.Tokens.Control = name, title, "control: "+paper, c
	return m
}

func tlqRandom() Method {
	return control("tlq-random", "TLQ, random vision tokens (control)", "as many vision tokens per sample, drawn at random, with their own weights", ControlRandom)
}

func tlqShuffled() Method {
	return control("tlq-shuffled", "TLQ, shuffled importance (control)", "importance and weights permuted among a sample's vision tokens", ControlShuffled)
}

func tlqLeast() Method {
	return control("tlq-least", "TLQ, least important tokens (control)", "as many vision tokens per sample, the least important", ControlLeast)
}

func tlqFewer() Method {
	return control("tlq-fewer", "TLQ's number of tokens from fewer samples (control)", "whole samples, as many tokens in all", ControlFewer)
}

// FindMethod returns the built-in method of that name; the error lists the names.
func FindMethod(name string) (Method, error) {
	var names []string
	for _, m := range Methods() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Method{}, fmt.Errorf("ptq: unknown method %q; expected %s", name, choices(name, names))
}
