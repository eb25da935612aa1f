package datasets

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Kinds of questions of task chart, in the order that they take turns in.
const (
	chartLargest  = "largest"
	chartSmallest = "smallest"
	chartCompare  = "compare" // which of two is larger: two choices
	chartValue    = "value"
	chartCount    = "count"
	chartAbove    = "above"     // how many are larger than one
	chartEnds     = "line ends" // which line ends highest
	chartAt       = "line at"   // which line is highest at a label
)

var chartKinds = []string{chartLargest, chartSmallest, chartCompare, chartValue, chartCount, chartAbove, chartEnds, chartAt}

// chartChance is the accuracy of blind guessing: one kind of eight has two choices.
const chartChance = (7*0.25 + 0.5) / 8

// chartForm is how values are drawn.
type chartForm int

const (
	formBars chartForm = iota
	formDots
	formLines
)

// String is the form's name.
func (f chartForm) String() string { return [...]string{"bars", "dots", "lines"}[f] }

const (
	barsLeast  = 3
	barsMost   = 6
	labelsMost = 5 // bars with labels, which would touch each other else
	linesLeast = 2
	lineLines  = 4 // most lines of a chart
	lineLeast  = 3 // labels along a line
	lineLabels = 5 // most of them
	chartLow   = 8 // smallest share of the largest value shown, in percent
)

// chart is a picture of a few values, scaled by a power of ten to whole numbers up to 99.
type chart struct {
	form   chartForm
	source string // table and series
	table  *Table
	named  bool // bars and dots have labels and one colour; else a colour each
	labels []string
	inks   []ink   // of bars and dots one each, or of lines
	values [][]int // [lines, labels]; bars and dots are one line
	top    int     // value at the upper end of the axis
}

// tickStep is the distance of the axis's marks.
func (c *chart) tickStep() int {
	if c.top <= 20 {
		return 5
	}
	return 20
}

// apart reports two values that can be told from each other in the picture: four
// pixels, and 10%, twice what relaxed accuracy forgives.
func (c *chart) apart(a, b int) bool {
	d := max(a-b, b-a)
	return d*plotHeight >= 4*c.top && d*10 >= max(a, b)
}

// allApart reports values that are apart in pairs.
func (c *chart) allApart(values []int) bool {
	for i, a := range values {
		for _, b := range values[:i] {
			if !c.apart(a, b) {
				return false
			}
		}
	}
	return true
}

// scaled rounds positive values to whole numbers, the largest to 10…99, all by one power of ten.
func scaled(values [][]float64) [][]int {
	largest := 0.0
	for _, list := range values {
		largest = max(largest, slices.Max(list))
	}
	factor := math.Pow(10, 1-math.Floor(math.Log10(largest)))
	if math.Round(largest*factor) >= 100 {
		factor /= 10
	}
	out := make([][]int, len(values))
	for i, list := range values {
		for _, v := range list {
			out[i] = append(out[i], int(math.Round(v*factor)))
		}
	}
	return out
}

// topOf is the upper end of an axis for values up to largest.
func topOf(largest int) int {
	for _, top := range []int{20, 40, 60, 80} {
		if largest <= top {
			return top
		}
	}
	return 100
}

// newBars draws n bars or dots from any series of the split. In charts that name
// bars by labels the values are dealt to the labels at random: who knows the table
// still has to look.
func newBars(rng *rand.Rand, p *tablePack, split Split, n int) *chart {
	for {
		at := p.single[split][rng.IntN(len(p.single[split]))]
		t := &p.tables[at.table]
		s := &t.Series[at.series]
		var rows []int
		for i, v := range s.Values {
			if v > 0 {
				rows = append(rows, i)
			}
		}
		if len(rows) < n {
			continue
		}
		rows = sample(rng, rows, n)
		c := &chart{form: chartForm(rng.IntN(2)), table: t, source: t.Name + "/" + s.Name, named: n <= labelsMost && rng.IntN(2) == 0}
		values := make([]float64, n)
		for i, row := range rows {
			values[i] = s.Values[row]
			c.labels = append(c.labels, t.Labels[row])
		}
		c.values = scaled([][]float64{values})
		list := c.values[0]
		largest := slices.Max(list)
		c.top = topOf(largest)
		if slices.Min(list)*100 < largest*chartLow || !c.allApart(list) {
			continue
		}
		rng.Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
		c.inks = pickInks(rng, n)
		if c.named {
			for i := range c.inks {
				c.inks[i] = c.inks[0]
			}
		}
		return c
	}
}

// newLines draws lines of a table with several series, over labels that follow each
// other in the table; at the asked label and at the end the highest is apart from the rest.
func newLines(rng *rand.Rand, p *tablePack, split Split, n, labels, asked int) *chart {
	for {
		t := &p.tables[p.groups[split][rng.IntN(len(p.groups[split]))]]
		if len(t.Series) < n || len(t.Labels) < labels {
			continue
		}
		step := 1 + rng.IntN(max(1, (len(t.Labels)-1)/(labels-1)))
		if last := (labels - 1) * step; last >= len(t.Labels) {
			continue
		}
		first := rng.IntN(len(t.Labels) - (labels-1)*step)
		c := &chart{form: formLines, table: t, source: t.Name}
		values, missing := make([][]float64, n), false
		indices := make([]int, len(t.Series))
		for i := range indices {
			indices[i] = i
		}
		for i, series := range sample(rng, indices, n) {
			for k := range labels {
				v := t.Series[series].Values[first+k*step]
				values[i] = append(values[i], v)
				missing = missing || v == 0
			}
		}
		if missing {
			continue
		}
		for k := range labels {
			c.labels = append(c.labels, t.Labels[first+k*step])
		}
		c.values, c.inks = scaled(values), pickInks(rng, n)
		largest := 0
		for _, list := range c.values {
			largest = max(largest, slices.Max(list))
		}
		c.top = topOf(largest)
		if c.clear(asked) && c.clear(labels-1) {
			return c
		}
	}
}

// clear reports a label at which the highest line is apart from the others.
func (c *chart) clear(label int) bool {
	best := c.highest(label)
	for i, list := range c.values {
		if i != best && !c.apart(list[label], c.values[best][label]) {
			return false
		}
	}
	return true
}

// highest is the line that is highest at a label.
func (c *chart) highest(label int) int {
	best := 0
	for i, list := range c.values {
		if list[label] > c.values[best][label] {
			best = i
		}
	}
	return best
}

// name is how questions call bar or dot i, or line i.
func (c *chart) name(i int) string {
	if c.named {
		return c.labels[i]
	}
	return c.inks[i].name
}

// others lists the names of all bars but i, filled up to n with names that are not in the chart.
func (c *chart) others(rng *rand.Rand, i, n int) []string {
	names := []string{c.name(i)}
	for j := range c.inks {
		if j != i {
			names = append(names, c.name(j))
		}
	}
	draw := func() string { return inks[rng.IntN(len(inks))].name }
	if c.named {
		draw = func() string { return c.table.Labels[rng.IntN(len(c.table.Labels))] }
	}
	if len(names) > n+1 { // the answer first, any others after it
		rest := names[1:]
		rng.Shuffle(len(rest), func(a, b int) { rest[a], rest[b] = rest[b], rest[a] })
	}
	return fillUp(names, n+1, draw)[1 : n+1]
}

// ranked returns the bar that so many others are larger than.
func (c *chart) ranked(above int) int {
	order := make([]int, len(c.values[0]))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return c.values[0][b] - c.values[0][a] })
	return order[above]
}

// The questions about a chart.
func (c *chart) largest() QA { return QA{"Which is largest?", c.name(c.ranked(0))} }

func (c *chart) smallest() QA {
	return QA{"Which is smallest?", c.name(c.ranked(len(c.values[0]) - 1))}
}

func (c *chart) compare(i, j int) QA {
	winner := i
	if c.values[0][j] > c.values[0][i] {
		winner = j
	}
	return QA{"Which is larger, " + c.name(i) + " or " + c.name(j) + "?", c.name(winner)}
}

func (c *chart) value(i int) QA {
	return QA{"What is the value of " + c.name(i) + "?", strconv.Itoa(c.values[0][i])}
}

func (c *chart) count() QA {
	return QA{"How many " + c.form.String() + " are there?", strconv.Itoa(len(c.inks))}
}

func (c *chart) above(i, n int) QA {
	return QA{"How many are larger than " + c.name(i) + "?", strconv.Itoa(n)}
}

func (c *chart) ends() QA {
	return QA{"Which line ends highest?", c.name(c.highest(len(c.labels) - 1))}
}

func (c *chart) at(label int) QA {
	return QA{"Which line is highest at " + c.labels[label] + "?", c.name(c.highest(label))}
}

// askChart is the [asker] of task chart; kinds of questions take turns.
func askChart(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	rng := stream("chart", split, seed, i)
	kind := chartKinds[i%len(chartKinds)]
	c, qa, distractors := askOf(rng, p.tables, split, kind)
	e := Example{
		ID:        fmt.Sprintf("chart-%s-%d-%d", split, seed, i),
		Task:      "chart",
		Question:  qa.Question,
		Answers:   []string{qa.Answer},
		Choices:   shuffled(rng, qa.Answer, distractors),
		Source:    c.source,
		Licence:   c.table.Attribution + ": " + c.table.Licence,
		Attribute: kind + ", " + c.form.String(),
		Scoring:   RelaxedAccuracy,
	}
	return e, func() (*image.RGBA, error) { return c.draw(rng) }
}

// askOf makes a chart and a question of a kind with its distractors.
func askOf(rng *rand.Rand, p *tablePack, split Split, kind string) (*chart, QA, []string) {
	if kind == chartEnds || kind == chartAt {
		labels := lineLeast + rng.IntN(lineLabels-lineLeast+1)
		asked := rng.IntN(labels)
		c := newLines(rng, p, split, linesLeast+rng.IntN(lineLines-linesLeast+1), labels, asked)
		qa, label := c.ends(), labels-1
		if kind == chartAt {
			qa, label = c.at(asked), asked
		}
		return c, qa, c.others(rng, c.highest(label), choices-1)
	}
	n := barsLeast + rng.IntN(barsMost-barsLeast+1)
	if kind == chartAbove {
		n = choices + rng.IntN(barsMost-choices+1)
	}
	c := newBars(rng, p, split, n)
	switch kind {
	case chartLargest:
		return c, c.largest(), c.others(rng, c.ranked(0), choices-1)
	case chartSmallest:
		return c, c.smallest(), c.others(rng, c.ranked(n-1), choices-1)
	case chartCompare:
		pick := rng.Perm(n)
		qa := c.compare(pick[0], pick[1])
		other := c.name(pick[0])
		if other == qa.Answer {
			other = c.name(pick[1])
		}
		return c, qa, []string{other}
	case chartValue:
		i := rng.IntN(n)
		return c, c.value(i), c.otherValues(rng, p, split, i)
	case chartCount:
		qa := c.count()
		return c, qa, fillUp([]string{qa.Answer}, choices, func() string { return strconv.Itoa(barsLeast + rng.IntN(barsMost-barsLeast+1)) })[1:]
	}
	above := rng.IntN(choices)
	qa := c.above(c.ranked(above), above)
	return c, qa, fillUp([]string{qa.Answer}, choices, func() string { return strconv.Itoa(rng.IntN(choices)) })[1:]
}

// otherValues are the values of other bars, and where there are too few those of
// other charts, all apart from each other.
func (c *chart) otherValues(rng *rand.Rand, p *tablePack, split Split, i int) []string {
	values := []int{c.values[0][i]}
	add := func(v int) {
		if len(values) < choices && c.allApart(append(slices.Clone(values), v)) {
			values = append(values, v)
		}
	}
	for _, j := range rng.Perm(len(c.values[0])) {
		add(c.values[0][j])
	}
	for len(values) < choices {
		add(newBars(rng, p, split, barsLeast).values[0][0])
	}
	names := make([]string, choices)
	for k, v := range values {
		names[k] = strconv.Itoa(v)
	}
	return names[1:]
}

// chartText is picture i of the training stream without its picture: every third
// chart has lines; the rest bars or dots.
func chartText(p *pack, seed uint64, i int) (*chart, []QA, *rand.Rand) {
	rng := stream("chart picture", Train, seed, i)
	if rng.IntN(3) == 0 {
		labels := lineLeast + rng.IntN(lineLabels-lineLeast+1)
		asked := rng.IntN(labels)
		c := newLines(rng, p.tables, Train, linesLeast+rng.IntN(lineLines-linesLeast+1), labels, asked)
		return c, []QA{c.ends(), c.at(asked), c.count()}, rng
	}
	n := barsLeast + rng.IntN(barsMost-barsLeast+1)
	c := newBars(rng, p.tables, Train, n)
	pick := rng.Perm(n)
	above := rng.IntN(min(n, choices))
	return c, []QA{
		c.largest(), c.smallest(), c.compare(pick[0], pick[1]), c.value(pick[1]), c.value(pick[2]), c.count(), c.above(c.ranked(above), above),
	}, rng
}

// chartPicture is picture i of the training stream.
func chartPicture(p *pack, seed uint64, i int) (Picture, error) {
	c, qa, rng := chartText(p, seed, i)
	img, err := c.draw(rng)
	return Picture{Image: img, QA: qa, Labels: c.valueLabels()}, err
}
