package ptq

import (
	"fmt"
	"strconv"
	"strings"
)

// Format says how weights and activations are rounded. Its text form is
//
//	w<bits>a<16|8|6|4>[g<size>][sym|asym]
//
// for example w3a16g64, w4a8, w4a8g64. It marshals as that text. The zero value
// is no format.
type Format struct {
	// Bits of a weight, 2 to 8.
	Bits int
	// Activation is the bits of the inputs of linears, rounded dynamically and
	// symmetrically per token: 8, 6 or 4; 16 leaves them alone.
	Activation int
	// Group is how many consecutive input columns of a row share a step; 0: the
	// whole row, one step per output channel.
	Group int
	// Symmetric weights have no zero point. The text form names the kind only
	// where it is not the default: asymmetric at a16, symmetric otherwise.
	Symmetric bool
}

// defaultSymmetric is the kind of weights that the text form leaves out: MBQ's
// choice for weight-only and weight-activation formats.
func (f Format) defaultSymmetric() bool { return f.Activation != 16 }

// ParseFormat reads the text form. Errors say what was received and what is
// expected.
func ParseFormat(text string) (Format, error) {
	bad := func(why string) (Format, error) {
		return Format{}, fmt.Errorf("ptq: format %q: %s; expected w<bits>a<16|8|6|4>[g<size>][sym|asym], for example w3a16g64 or w4a8", text, why)
	}
	var f Format
	rest, ok := text, true
	if f.Bits, rest, ok = cutNumber(rest, "w"); !ok {
		return bad("no w with a number of bits")
	}
	if f.Activation, rest, ok = cutNumber(rest, "a"); !ok {
		return bad("no a with a number of bits")
	}
	if strings.HasPrefix(rest, "g") {
		if f.Group, rest, ok = cutNumber(rest, "g"); !ok || f.Group == 0 {
			return bad("no size after g")
		}
	}
	switch rest {
	case "":
		f.Symmetric = f.defaultSymmetric()
	case "sym":
		f.Symmetric = true
	case "asym":
	default:
		return bad(fmt.Sprintf("%q is left over", rest))
	}
	if err := f.Validate(); err != nil {
		return Format{}, err
	}
	return f, nil
}

// cutNumber reads the prefix and a decimal number without leading zeros.
func cutNumber(text, prefix string) (n int, rest string, ok bool) {
	rest, ok = strings.CutPrefix(text, prefix)
	if !ok {
		return 0, text, false
	}
	end := 0
	for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
		end++
	}
	if end == 0 || end > 6 || rest[0] == '0' {
		return 0, text, false
	}
	n, err := strconv.Atoi(rest[:end])
	return n, rest[end:], err == nil
}

// String is the inverse of ParseFormat; it leaves out a default kind.
func (f Format) String() string {
	text := fmt.Sprintf("w%da%d", f.Bits, f.Activation)
	if f.Group != 0 {
		text += fmt.Sprintf("g%d", f.Group)
	}
	if f.Symmetric != f.defaultSymmetric() {
		if f.Symmetric {
			return text + "sym"
		}
		return text + "asym"
	}
	return text
}

// Validate checks the ranges of the fields.
func (f Format) Validate() error {
	if f.Bits < 2 || f.Bits > 8 {
		return fmt.Errorf("ptq: format %s: %d bits per weight; expected 2 to 8", f, f.Bits)
	}
	switch f.Activation {
	case 16, 8, 6, 4:
	default:
		return fmt.Errorf("ptq: format %s: %d bits per activation; expected 16, 8, 6 or 4", f, f.Activation)
	}
	if f.Group < 0 || f.Group == 1 {
		return fmt.Errorf("ptq: format %s: group size %d; expected 2 or more, or none for one scale per output channel", f, f.Group)
	}
	return nil
}

// MarshalText returns the text form.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text form.
func (f *Format) UnmarshalText(text []byte) error {
	parsed, err := ParseFormat(string(text))
	if err == nil {
		*f = parsed
	}
	return err
}

// GroupFallback says what happens to a linear whose input width the group size
// does not divide.
type GroupFallback string

// Group fallbacks. The zero value refuses.
const (
	RefuseGroup GroupFallback = ""      // an error with the numbers
	HalveGroup  GroupFallback = "halve" // halve the group until it divides, and record an event
)

// GroupSize returns the group size to use for in input columns: in itself where
// the format has none. halved tells that the fallback was needed.
func (f Format) GroupSize(in int, fallback GroupFallback) (size int, halved bool, err error) {
	if f.Group == 0 {
		return in, false, nil
	}
	size = f.Group
	for in%size != 0 {
		if fallback != HalveGroup {
			return 0, false, fmt.Errorf("ptq: format %s: group size %d does not divide the %d input columns; "+
				"choose a divisor such as %d, or allow the group fallback %q", f, f.Group, in, largestDivisor(in, f.Group), HalveGroup)
		}
		if size%2 != 0 || size == 2 {
			return 0, false, fmt.Errorf("ptq: format %s: group size %d does not divide the %d input columns, nor does %d, where halving it ends; "+
				"choose a divisor such as %d", f, f.Group, in, size, largestDivisor(in, f.Group))
		}
		size /= 2
		halved = true
	}
	return size, halved, nil
}

// largestDivisor of n that is at most limit.
func largestDivisor(n, limit int) int {
	for d := min(n, limit); ; d-- {
		if n%d == 0 {
			return d
		}
	}
}

// BitsPerWeight is the average number of bits of a weight with in input columns
// in groups of the given size: its code, a 16-bit step per group and, for
// asymmetric weights, a zero point of f.Bits.
func (f Format) BitsPerWeight(group int) float64 {
	overhead := 16
	if !f.Symmetric {
		overhead += f.Bits
	}
	return float64(f.Bits) + float64(overhead)/float64(group)
}
