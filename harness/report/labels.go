package report

import (
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/harness"
)

// shortLabels are what the table's methods are called where there is little room: in
// legends, beside dots and in tables. Their titles say the same at length.
var shortLabels = map[string]string{
	harness.MethodFP: "Unquantized",
	"rtn":            "RTN",
	"smoothquant":    "SmoothQuant",
	"awq":            "AWQ",
	"awq-clip":       "AWQ, clipped",
	"mbq":            "MBQ",
	"mbq-distort":    "MBQ, distorted",
	"qig":            "QIG",
	"qig-weights":    "QIG, weights",
	"tlq":            "TLQ (reconstruction)",
	"gptq":           "GPTQ",
	"gptq-tweaked":   "GPTQ + norms",
	"gptaq":          "GPTAQ",
	"rsq":            "RSQ",
	"vlmq":           "VLMQ (recon.)",
	"vlmq-gptaq":     "VLMQ-GPTAQ (recon.)",
	"tlq-gptq":       "TLQ-GPTQ (recon.)",
	"quarot-rtn":     "QuaRot, RTN",
	"quarot":         "QuaRot, GPTQ",
	"quarot-tlq":     "QuaRot, TLQ (recon.)",
	"answers":        "control: answers",
	"tlq-random":     "control: random",
	"tlq-shuffled":   "control: shuffled",
	"tlq-least":      "control: least",
	"tlq-fewer":      "control: fewer",
}

// mostShort is how many letters a short label has at most.
const mostShort = 22

// short is what a method is called where there is little room.
func (r *run) short(method string) string {
	label := r.ownShort(method)
	for _, other := range r.methods {
		if other != method && r.ownShort(other) == label {
			return method // two would be called alike: their names tell them apart
		}
	}
	return label
}

func (r *run) ownShort(method string) string {
	if label, ok := shortLabels[method]; ok && !inline(r.spec, method) {
		return label
	}
	return cutLabel(methodLabel(r.spec, method))
}

// inline reports whether a Spec brings a method of its own under a name.
func inline(spec *harness.Spec, method string) bool {
	return spec != nil && slices.ContainsFunc(spec.Methods, func(ref harness.MethodRef) bool { return ref.Inline != nil && ref.ID() == method })
}

// cutLabel shortens a title: its brackets first, then its end. That it is a
// reconstruction stays.
func cutLabel(title string) string {
	if len([]rune(title)) <= mostShort {
		return title
	}
	const mark = " (recon.)"
	head, _, _ := strings.Cut(title, " (")
	room := mostShort
	if strings.Contains(title, "(reconstruction)") {
		room -= len(mark)
	}
	if letters := []rune(head); len(letters) > room {
		head = strings.TrimRight(string(letters[:room-1]), " ,") + "…"
	}
	if room < mostShort {
		head += mark
	}
	return head
}
