package report

import (
	"strconv"

	"github.com/tlqlab/tlqlab/display"
)

// costsFile is the sheet of what cells took. It differs between runs that are
// otherwise the same, and so stays out of the page.
const costsFile = "costs"

// costSheet is time and memory per method: what the program spent on a cell in
// this run, which is little where the store had its stages.
func (r *run) costSheet() *sheet {
	s := &sheet{name: costsFile, show: &display.Table{
		Columns: []string{"model", "format", "method", "seconds a cell", "least", "most", "peak memory, MiB", "seeds"},
		Caption: "Wall time of a cell in the last run, from calibration to scores: mean, least and most over calibration seeds. " +
			"Stages that the store had already, or another cell made first, take no time. " +
			"Memory: the greatest resident size of the whole process until the cell was done.",
	}, csv: [][]string{{"model", "format", "method", "seconds", "seconds_least", "seconds_most", "peak_bytes", "seeds"}}}
	add := func(x *score, format string) {
		first := x.records[0]
		mean, least, most, peak := 0.0, first.Seconds, first.Seconds, int64(0)
		for _, rec := range x.records {
			mean += rec.Seconds / float64(len(x.records))
			least, most, peak = min(least, rec.Seconds), max(most, rec.Seconds), max(peak, rec.PeakBytes)
		}
		s.show.Add(r.modelName(first.Model), format, r.short(first.Method), number(mean), number(least), number(most), fixed(float64(peak)/(1<<20), 0), len(x.records))
		s.csv = append(s.csv, []string{first.Model, first.Setting(), first.Method, digits(mean), digits(least), digits(most), strconv.FormatInt(peak, 10), strconv.Itoa(len(x.records))})
	}
	r.eachScore(add)
	r.oneModel(s.show)
	return s
}
