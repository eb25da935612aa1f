package datasets

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// solve answers a question about a chart from its names and values alone, by the
// words of the question. It shares no code with the generator.
func (c *chart) solve(t *testing.T, question string) string {
	t.Helper()
	name := func(i int) string {
		if c.named {
			return c.labels[i]
		}
		return c.inks[i].name
	}
	value := map[string]int{}
	for i, v := range c.values[0] {
		if c.form != formLines {
			value[name(i)] = v
		}
	}
	extreme := func(values map[string]int, sign int) string {
		best := ""
		for n, v := range values {
			if best == "" || sign*v > sign*values[best] {
				best = n
			}
		}
		return best
	}
	column := func(label int) map[string]int {
		values := map[string]int{}
		for i, list := range c.values {
			values[c.inks[i].name] = list[label]
		}
		return values
	}
	text := strings.TrimSuffix(question, "?")
	switch {
	case text == "Which is largest":
		return extreme(value, 1)
	case text == "Which is smallest":
		return extreme(value, -1)
	case text == "Which line ends highest":
		return extreme(column(len(c.labels)-1), 1)
	}
	if rest, ok := strings.CutPrefix(text, "Which line is highest at "); ok {
		return extreme(column(slices.Index(c.labels, rest)), 1)
	}
	if rest, ok := strings.CutPrefix(text, "Which is larger, "); ok {
		a, b, _ := strings.Cut(rest, " or ")
		if value[a] > value[b] {
			return a
		}
		return b
	}
	if rest, ok := strings.CutPrefix(text, "What is the value of "); ok {
		return strconv.Itoa(value[rest])
	}
	if rest, ok := strings.CutPrefix(text, "How many are larger than "); ok {
		n := 0
		for _, v := range value {
			if v > value[rest] {
				n++
			}
		}
		return strconv.Itoa(n)
	}
	if strings.HasPrefix(text, "How many ") {
		return strconv.Itoa(max(len(value), len(c.values)))
	}
	t.Fatalf("unknown question %q", question)
	return ""
}

// TestChartAnswers solves every question again from the chart's values, and checks
// that the picture can decide it.
func TestChartAnswers(t *testing.T) {
	p := testPack(t)
	for _, split := range Splits() {
		for i := range 800 {
			kind := chartKinds[i%len(chartKinds)]
			c, qa, distractors := askOf(stream("chart", split, 3, i), p.tables, split, kind)
			if got := c.solve(t, qa.Question); got != qa.Answer {
				t.Fatalf("%s %d %q: answer %q, the chart says %q", split, i, qa.Question, qa.Answer, got)
			}
			if slices.Contains(distractors, qa.Answer) {
				t.Fatalf("%s %d: %q among %q", split, i, qa.Answer, distractors)
			}
			if c.table.Split != split {
				t.Fatalf("%s %d: table %s belongs to split %s", split, i, c.table.Name, c.table.Split)
			}
			if kind == chartValue { // nothing that relaxed accuracy would take is offered beside the answer
				for _, d := range distractors {
					a, _ := strconv.Atoi(qa.Answer)
					b, _ := strconv.Atoi(d)
					if max(a-b, b-a)*20 <= max(a, b) {
						t.Fatalf("%s %d: %s and %s are within 5%%", split, i, qa.Answer, d)
					}
				}
			}
			largest := 0
			for _, list := range c.values {
				largest = max(largest, slices.Max(list))
			}
			if largest < 10 || largest > 99 || largest > c.top {
				t.Fatalf("%s %d: largest value %d on an axis up to %d", split, i, largest, c.top)
			}
		}
	}
	for i := range 600 {
		c, qas, _ := chartText(p, 3, i)
		if c.table.Split != Train {
			t.Fatalf("training chart %d draws table %s of split %s", i, c.table.Name, c.table.Split)
		}
		for _, qa := range qas {
			if got := c.solve(t, qa.Question); got != qa.Answer {
				t.Fatalf("training chart %d %q: answer %q, the chart says %q", i, qa.Question, qa.Answer, got)
			}
		}
	}
}

// TestChartPictures measures bars in the picture: the height of a bar's column of
// colour is its value on the axis, to one pixel.
func TestChartPictures(t *testing.T) {
	p := testPack(t)
	measured := 0
	for i := range 60 {
		rng := stream("chart test", Train, 1, i)
		c := newBars(rng, p.tables, Train, 4)
		if c.form != formBars || c.named {
			continue
		}
		img, err := c.draw(rng)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.values[0] {
			x := plotLeft + (2*k+1)*(plotRight-plotLeft)/(2*4)
			height := 0
			for y := range canvas {
				if img.RGBAAt(x, y) == c.inks[k].color {
					height++
				}
			}
			want := v * plotHeight / c.top
			if height < want-1 || height > want+1 {
				t.Fatalf("chart %d: bar %d of value %d is %d pixels high, want %d", i, k, v, height, want)
			}
			measured++
		}
	}
	if measured < 20 {
		t.Errorf("only %d bars were measured", measured)
	}
}

func TestScaled(t *testing.T) {
	for _, c := range []struct {
		in   [][]float64
		want [][]int
	}{
		{[][]float64{{1, 2.5}}, [][]int{{10, 25}}},
		{[][]float64{{99.4, 1}}, [][]int{{99, 1}}},
		{[][]float64{{99.6, 50}}, [][]int{{10, 5}}}, // 99.6 would round to 100
		{[][]float64{{0.0123}, {0.04}}, [][]int{{12}, {40}}},
		{[][]float64{{7e9}}, [][]int{{70}}},
		{[][]float64{{10}}, [][]int{{10}}},
	} {
		if got := scaled(c.in); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("scaled(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestParseTables(t *testing.T) {
	const good = `{"name":"a","file":"f","split":"train","licence":"l","attribution":"x","labels":["a","b","c","d"],"series":[{"name":"s","values":[1,2,3,4]},{"name":"r","values":[1,2,3,4]}]}`
	all := good + "\n" + strings.NewReplacer(`"a","file"`, `"b","file"`, "train", "tuning").Replace(good) + "\n" + strings.NewReplacer(`"a","file"`, `"c","file"`, "train", "test").Replace(good) + "\n"
	if _, err := parseTables([]byte(all)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"twice":    {`"c","file"`, `"a","file"`, "tables.jsonl:3"},
		"split":    {`"split":"tuning"`, `"split":"tunning"`, "tables.jsonl:2"},
		"label":    {`"labels":["a","b"`, `"labels":["a","a"`, "tables.jsonl:1"},
		"long":     {`"labels":["a"`, `"labels":["abcde"`, "tables.jsonl:1"},
		"values":   {`[1,2,3,4]}]}`, `[1,2,3]}]}`, "tables.jsonl:1"},
		"negative": {`[1,2,3,4]}]}`, `[-1,2,3,4]}]}`, "tables.jsonl:1"},
		"field":    {`"licence"`, `"license"`, "tables.jsonl:1"},
		"missing":  {`"split":"test"`, `"split":"train"`, "split test has 0 series"},
	} {
		if _, err := parseTables([]byte(strings.Replace(all, c.from, c.to, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseTables(f *testing.F) {
	f.Add([]byte(`{"name":"a","file":"f","split":"train","licence":"l","attribution":"x","labels":["a","b","c","d"],"series":[{"name":"s","values":[1,2,3,4]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseTables(data)
		if err == nil && len(p.tables) < 3 {
			t.Errorf("%d tables were accepted for three splits", len(p.tables))
		}
	})
}

// TestTableRecipes makes a table of a few rows by hand: groups, means, labels cut
// short, and labels that become the same are dropped.
func TestTableRecipes(t *testing.T) {
	rows, err := readRows("x.csv", []byte("place,date,n\nNorth Bay,2012-01-05,1\nNorth Bay,2012-01-09,3\nNortheim,2012-01-01,9\nOslo,2012-02-01,5.5555\nRoma,2013-02-01,-1\nKyiv,2012-03-01,\nBern,2012-03-01,7\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := tableRecipe{name: "t", file: "x.csv", split: Train, licence: "l", attribution: "a", label: part{"place", nil}, series: []part{{"date", year}}, values: []string{"n"}, how: mean}
	got := r.table(rows)
	if want := []string{"Oslo", "Roma", "Bern"}; !slices.Equal(got.Labels, want) || len(got.Series) != 0 {
		t.Errorf("labels %q, %d series, want %q and none: three rows are too few", got.Labels, len(got.Series), want)
	}
	r.label = part{"date", month}
	r.series = nil
	r.how = sum
	got = r.table(append(rows, row{"date": "2012/12/31", "n": "1234.5"}))
	if fmt.Sprint(got.Labels) != "[Jan Feb Mar Dec]" || fmt.Sprint(got.Series) != "[{n [13 4.56 7 1230]}]" {
		t.Errorf("table %+v", got)
	}
	if r.how = count; fmt.Sprint(r.table(append(rows, row{"date": "2012/12/31", "n": "1"})).Series) != "[{number [3 2 2 1]}]" {
		t.Errorf("counts %+v", r.table(rows))
	}
}

// TestTextAnswers checks every question against the words on the page.
func TestTextAnswers(t *testing.T) {
	p := testPack(t)
	check := func(what string, pg *page, qa QA) {
		t.Helper()
		n := 0
		text := strings.TrimSuffix(qa.Question, "?")
		if body, line, ok := strings.Cut(text, " in line "); ok {
			k, err := strconv.Atoi(line)
			if err != nil || k < 1 || k > len(pg.words) {
				t.Fatalf("%s: %q on a page of %d", what, qa.Question, len(pg.words))
			}
			text, n = body, k-1
		}
		want := ""
		switch {
		case text == "What is written":
			want = pg.words[n]
		case text == "What is the first letter":
			want = pg.words[n][:1]
		case text == "How many letters":
			want = strconv.Itoa(len(pg.words[n]))
		case text == "What colour is the text":
			want = pg.inks[n].name
		case strings.HasPrefix(text, "What colour is "):
			want = pg.inks[slices.Index(pg.words, strings.TrimPrefix(text, "What colour is "))].name
		case strings.HasPrefix(text, "Which line says "):
			want = strconv.Itoa(1 + slices.Index(pg.words, strings.TrimPrefix(text, "Which line says ")))
		}
		if want != qa.Answer {
			t.Fatalf("%s %q: answer %q, the page says %q (%q)", what, qa.Question, qa.Answer, want, pg.words)
		}
	}
	for _, split := range Splits() {
		for i := range 1500 {
			pg, _, qa, _ := askPage(stream("text", split, 3, i), p.words.pools[split], textKinds[i%len(textKinds)])
			check(fmt.Sprint(split, " ", i), pg, qa)
			for _, word := range pg.words {
				if WordSplit(word) != split {
					t.Fatalf("%s %d shows %q of split %s", split, i, word, WordSplit(word))
				}
			}
		}
	}
	for i := range 1000 {
		pg, qas, _ := textText(p, 3, i)
		for _, qa := range qas {
			check(fmt.Sprint("training page ", i), pg, qa)
		}
	}
}

// TestTextsKeepWordsOut checks that the tokenizer's corpus doesn't teach it words of task text.
func TestTextsKeepWordsOut(t *testing.T) {
	texts, err := Texts()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		for _, start := range []string{"Which line says ", "What colour is "} {
			if word, ok := strings.CutPrefix(text, start); ok && word != "?" && !strings.HasPrefix(word, "the text") {
				t.Fatalf("the corpus holds %q", text)
			}
		}
	}
}

func TestParseWords(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"order":   {"# x\nbee\nant\n", "words.txt:3"},
		"twice":   {"ant\nant\n", "words.txt:2"},
		"capital": {"Ant\n", "words.txt:1"},
		"long":    {"elephants\n", "words.txt:1"},
		"few":     {"ant\nbee\n", "want 8 or more"},
	} {
		if _, err := parseWords([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestInksDiffer checks that no two colours are near each other.
func TestInksDiffer(t *testing.T) {
	distance := func(a, b color.RGBA) int {
		square := func(x, y uint8) int { return (int(x) - int(y)) * (int(x) - int(y)) }
		return square(a.R, b.R) + square(a.G, b.G) + square(a.B, b.B)
	}
	for i, a := range inks {
		for _, b := range inks[:i] {
			if distance(a.color, b.color) < 80*80 {
				t.Errorf("%s and %s are %d apart", a.name, b.name, distance(a.color, b.color))
			}
		}
	}
}
