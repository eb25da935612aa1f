package ptq

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
)

// Methods lists the methods of the literature that are built, in the order in
// which tables show them. The slice is the caller's own.
func Methods() []Method {
	return []Method{
		{
			Name:  "rtn",
			Title: "Round to nearest",
			Paper: "the common baseline; quantizers as in MBQ, arXiv:2412.19509",
			// Nothing is searched, so nothing reads the token settings.
			Tokens: Tokens{
				Importance: "uniform", Clip: ClipNone, Keep: 1, Pool: PoolSample, Weight: WeightHard, Mass: MassFlat, Floor: FloorNone,
				Answers: RoleKeep, Text: RoleKeep, Means: MeansAll, Control: ControlNone,
			},
			Path:     Path{Expose: ExposeNone, Target: TargetFP},
			Search:   Search{Kind: SearchNone, Points: 1, Metric: MAE, Inspect: InspectBlock, Sites: models.Sites()},
			Rotate:   RotateNone,
			Rounding: Rounding{Kind: RoundNearest},
			After:    AfterNone,
		},
		{
			Name:  "tlq",
			Title: "TLQ (reconstruction)",
			Paper: "reconstruction of arXiv:2602.07899, whose body and code are not public",
			// Selection by Σ|g·e|, weights by mean|g|: weighing by the error again
			// would count it twice. Answers weigh 1, because gradient weights on them
			// did harm in a pilot.
			Tokens: Tokens{
				Importance: "gradient*error", Clip: ClipIQR, Keep: 0.25, Pool: PoolModality, Weight: "gradient", Mass: MassRatio, Floor: FloorMedian,
				Answers: RoleKeep, Text: RoleDrop, Means: MeansAll, Control: ControlNone,
			},
			Path:     Path{Expose: ExposeGroup, Target: TargetFP},
			Search:   Search{Kind: SearchGrid, Points: 20, Metric: MAE, Inspect: InspectBlock, Sites: models.Sites()},
			Rotate:   RotateNone,
			Rounding: Rounding{Kind: RoundNearest},
			After:    AfterNone,
		},
	}
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
