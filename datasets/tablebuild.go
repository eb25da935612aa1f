package datasets

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// tableSource is where the tables come from.
var tableSource = struct{ Package, TarballSHA256 string }{
	"vega-datasets@3.2.1", "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3",
}

// tableRecipe says how a file of the package becomes a table: rows are grouped by
// label and series, and their values are summed up.
type tableRecipe struct {
	name, file  string
	split       Split
	licence     string
	attribution string

	label  part   // of a row: its label
	series []part // of a row: its series' name, parts joined by a space; none: the value's column
	values []string
	how    aggregate
	scale  float64 // factor of every value; 0: 1
}

// part is a column, or what can be read off it.
type part struct {
	column string
	as     func(string) string // nil: the text as it is
}

// aggregate sums the values of a group up.
type aggregate string

// The aggregates.
const (
	sum   aggregate = "sum"
	mean  aggregate = "mean"
	count aggregate = "count" // of rows, whatever the values are
)

const (
	usGovernment = "U.S. government work, public domain"
	ccBy         = "CC BY 4.0"
	gapminder    = "Gapminder Foundation (https://www.gapminder.org), CC BY 4.0"
	seriesMost   = 24 // series of a table
	rowsMost     = 60 // rows of a table
)

// tableRecipes lists the tables: those of the package whose licence lets them be
// passed on. Tables made from one source are in one split.
var tableRecipes = []tableRecipe{
	{name: "life expectancy", file: "gapminder.json", split: Train, licence: ccBy, attribution: gapminder, label: part{"country", nil}, series: []part{{"year", nil}}, values: []string{"life_expect"}, how: sum},
	{name: "fertility", file: "gapminder.json", split: Train, licence: ccBy, attribution: gapminder, label: part{"country", nil}, series: []part{{"year", nil}}, values: []string{"fertility"}, how: sum},
	{name: "population", file: "gapminder.json", split: Train, licence: ccBy, attribution: gapminder, label: part{"country", nil}, series: []part{{"year", nil}}, values: []string{"pop"}, how: sum},
	{name: "life by year", file: "gapminder.json", split: Train, licence: ccBy, attribution: gapminder, label: part{"year", nil}, series: []part{{"country", nil}}, values: []string{"life_expect"}, how: sum},
	{name: "employment", file: "us-employment.csv", split: Train, licence: usGovernment, attribution: "U.S. Bureau of Labor Statistics", label: part{"month", year}, values: []string{"goods_producing", "construction", "manufacturing", "durable_goods", "wholesale_trade", "retail_trade", "transportation_and_warehousing", "information", "financial_activities", "education_and_health_services", "leisure_and_hospitality", "other_services", "government"}, how: mean},
	{name: "unemployed", file: "unemployment-across-industries.json", split: Train, licence: usGovernment, attribution: "U.S. Census Bureau, U.S. Bureau of Labor Statistics", label: part{"series", nil}, series: []part{{"year", nil}}, values: []string{"count"}, how: mean},
	{name: "unemployment by year", file: "unemployment-across-industries.json", split: Train, licence: usGovernment, attribution: "U.S. Census Bureau, U.S. Bureau of Labor Statistics", label: part{"year", nil}, series: []part{{"series", nil}}, values: []string{"rate"}, how: mean},
	{name: "weather", file: "weather.csv", split: Train, licence: usGovernment, attribution: "NOAA Climate Data Online", label: part{"date", month}, series: []part{{"location", nil}, {"date", year}}, values: []string{"precipitation", "temp_max", "wind"}, how: mean},
	{name: "kinds of days", file: "weather.csv", split: Train, licence: usGovernment, attribution: "NOAA Climate Data Online", label: part{"weather", nil}, series: []part{{"location", nil}, {"date", year}}, how: count},
	{name: "states", file: "population_engineers_hurricanes.csv", split: Train, licence: usGovernment, attribution: "U.S. Bureau of Labor Statistics, American Community Survey", label: part{"state", nil}, values: []string{"population", "engineers", "hurricanes"}, how: sum},
	{name: "people", file: "lookup_people.csv", split: Train, licence: "BSD-3-Clause", attribution: "vega-datasets, generated", label: part{"name", nil}, values: []string{"age", "height"}, how: sum},
	{name: "commits", file: "github.csv", split: Train, licence: "BSD-3-Clause", attribution: "vega-datasets, generated", label: part{"time", month}, series: []part{{"time", hour}}, values: []string{"count"}, how: sum},
	{name: "zip codes", file: "zipcodes.csv", split: Train, licence: ccBy, attribution: "GeoNames (https://www.geonames.org), CC BY 4.0", label: part{"state", nil}, how: count},

	{name: "wheat", file: "wheat.json", split: Tuning, licence: "public domain", attribution: "W. Playfair, 1822", label: part{"year", nil}, values: []string{"wheat", "wages"}, how: sum},
	{name: "flights from", file: "flights-airport.csv", split: Tuning, licence: usGovernment, attribution: "U.S. Bureau of Transportation Statistics", label: part{"origin", nil}, series: []part{{"destination", hub}}, values: []string{"count"}, how: sum},

	{name: "strikes by month", file: "birdstrikes.csv", split: Test, licence: usGovernment, attribution: "FAA Wildlife Strike Database", label: part{"Flight Date", month}, series: []part{{"Flight Date", year}}, how: count},
	{name: "strikes by state", file: "birdstrikes.csv", split: Test, licence: usGovernment, attribution: "FAA Wildlife Strike Database", label: part{"Origin State", nil}, series: []part{{"Flight Date", year}}, how: count},
	{name: "strikes by phase", file: "birdstrikes.csv", split: Test, licence: usGovernment, attribution: "FAA Wildlife Strike Database", label: part{"Phase of flight", nil}, series: []part{{"Wildlife Size", nil}, {"Time of day", nil}}, how: count},
	{name: "strikes by year", file: "birdstrikes.csv", split: Test, licence: usGovernment, attribution: "FAA Wildlife Strike Database", label: part{"Flight Date", year}, series: []part{{"Phase of flight", nil}, {"Wildlife Size", nil}}, how: count},
	{name: "electricity", file: "iowa-electricity.csv", split: Test, licence: usGovernment, attribution: "U.S. Energy Information Administration", label: part{"year", year}, series: []part{{"source", nil}}, values: []string{"net_generation"}, how: sum},
	{name: "obesity", file: "obesity.json", split: Test, licence: usGovernment, attribution: "vega-datasets, from Protovis: U.S. Centers for Disease Control and Prevention", label: part{"state", nil}, values: []string{"rate"}, how: sum, scale: 100},
}

// year is the first four digits of a date.
func year(date string) string { return date[:min(4, len(date))] }

// month is the name of the month of a date like 2012-01-31 or 2015/01/31.
func month(date string) string {
	names := []string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
	if len(date) < 7 {
		return ""
	}
	n, err := strconv.Atoi(date[5:7])
	if err != nil || n < 1 || n > len(names) {
		return ""
	}
	return names[n-1]
}

// hour is the hour of a time like 2015/01/01 13:00:00.
func hour(time string) string {
	if len(time) < 13 {
		return ""
	}
	return time[11:13]
}

// hub keeps the airports that most flights go to.
func hub(code string) string {
	if slices.Contains(strings.Fields("ATL ORD DFW DEN LAX PHX IAH LAS DTW SFO SLC MSP"), code) {
		return code
	}
	return ""
}

// buildTables makes tables.jsonl.
func buildTables(tarball string) ([]byte, error) {
	content, err := readPackage(tarball, tableSource.Package, tableSource.TarballSHA256, func(name string) string {
		name, ok := strings.CutPrefix(name, "data/")
		if !ok || !slices.ContainsFunc(tableRecipes, func(r tableRecipe) bool { return r.file == name }) {
			return ""
		}
		return name
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, r := range tableRecipes {
		rows, err := readRows(r.file, content[r.file])
		if err != nil {
			return nil, err
		}
		t := r.table(rows)
		if err := t.Validate(); err != nil {
			return nil, fmt.Errorf("datasets: %s in %s: %w", r.file, tarball, err)
		}
		line, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("datasets: table %s: %w", r.name, err)
		}
		out.Write(append(line, '\n'))
	}
	return out.Bytes(), nil
}

// row is one line of a file, by column.
type row map[string]string

// readRows reads a CSV file with a head, or a JSON list of objects.
func readRows(name string, data []byte) ([]row, error) {
	var rows []row
	if strings.HasSuffix(name, ".json") {
		var objects []map[string]any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if err := decoder.Decode(&objects); err != nil {
			return nil, fmt.Errorf("datasets: %s: %w", name, err)
		}
		for _, o := range objects {
			r := row{}
			for key, value := range o {
				if value != nil {
					r[key] = fmt.Sprint(value)
				}
			}
			rows = append(rows, r)
		}
		return rows, nil
	}
	reader := csv.NewReader(bytes.NewReader(data))
	head, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("datasets: %s: %w", name, err)
	}
	for {
		record, err := reader.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("datasets: %s: %w", name, err)
		}
		r := row{}
		for i, key := range head {
			r[key] = record[i]
		}
		rows = append(rows, r)
	}
}

// read returns what a part says about a row; empty: nothing.
func (p part) read(r row) string {
	text := r[p.column]
	if p.as != nil {
		text = p.as(text)
	}
	return text
}

// cell gathers the values of one label and series.
type cell struct {
	total float64
	n     int
}

// table sums the rows up, in the file's order.
func (r *tableRecipe) table(rows []row) Table {
	t := Table{Name: r.name, File: r.file, Split: r.split, Licence: r.licence, Attribution: r.attribution}
	var series []string
	cells := map[[2]string]*cell{}
	for _, line := range rows {
		label := short(r.label.read(line))
		if label == "" {
			continue
		}
		for _, s := range r.of(line) {
			if !slices.Contains(series, s.name) {
				series = append(series, s.name)
			}
			if !slices.Contains(t.Labels, label) {
				t.Labels = append(t.Labels, label)
			}
			at := [2]string{label, s.name}
			if cells[at] == nil {
				cells[at] = &cell{}
			}
			cells[at].total += s.value
			cells[at].n++
		}
	}
	full := map[string]string{} // two long names that become one label: neither is taken
	for _, line := range rows {
		long := r.label.read(line)
		if label := short(long); full[label] == "" {
			full[label] = long
		} else if full[label] != long {
			t.Labels = slices.DeleteFunc(t.Labels, func(l string) bool { return l == label })
		}
	}
	t.Labels = spread(t.Labels, rowsMost)
	for _, name := range series {
		s := Series{Name: name}
		for _, label := range t.Labels {
			v := 0.0
			if c := cells[[2]string{label, name}]; c != nil {
				v = r.value(c)
			}
			s.Values = append(s.Values, v)
		}
		if s.filled() >= rowsLeast {
			t.Series = append(t.Series, s)
		}
	}
	t.Series = spread(t.Series, seriesMost)
	return t
}

// entry is a value and the series it belongs to.
type entry struct {
	name  string
	value float64
}

// of lists a row's values.
func (r *tableRecipe) of(line row) []entry {
	var names []string
	for _, p := range r.series {
		name := p.read(line)
		if name == "" {
			return nil
		}
		names = append(names, name)
	}
	prefix := strings.Join(names, " ")
	if r.how == count {
		if prefix == "" {
			prefix = "number"
		}
		return []entry{{prefix, 1}}
	}
	var all []entry
	for _, column := range r.values {
		v, err := strconv.ParseFloat(line[column], 64)
		if err != nil {
			continue // a missing value
		}
		name := strings.TrimSpace(prefix + " " + column)
		if prefix != "" && len(r.values) == 1 {
			name = prefix
		}
		all = append(all, entry{name, v})
	}
	return all
}

// value sums a cell up, to three significant digits; what isn't positive is missing.
func (r *tableRecipe) value(c *cell) float64 {
	v := c.total
	if r.how == mean {
		v /= float64(c.n)
	}
	if r.scale != 0 {
		v *= r.scale
	}
	if v <= 0 {
		return 0
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil || math.IsInf(rounded, 0) {
		return 0
	}
	return rounded
}

// short cuts a label to labelMost letters and digits.
func short(label string) string {
	var out []rune
	for _, c := range label {
		if (c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') && len(out) < labelMost {
			out = append(out, c)
		}
	}
	return string(out)
}

// spread keeps at most n elements, evenly spread over the list.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	var kept []T
	for i := range n {
		kept = append(kept, list[i*len(list)/n])
	}
	return kept
}
