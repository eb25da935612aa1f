package ptq

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// wideCalibration is one layer 512 channels wide, with an MLP of 1536, and 8 samples
// of 226 tokens, 200 of them vision.
func wideCalibration(b *testing.B, method, format string) (*Calibration, *TokenSet) {
	b.Helper()
	c := tinyConfig(2)
	c.Text.Hidden, c.Text.HeadDim, c.Text.Intermediate, c.Text.Layers, c.Text.MRopeSection = 512, 128, 1536, 1, [3]int{16, 24, 24}
	w := models.NewWeights(c)
	w.Randomize(c, rand.New(rand.NewPCG(1, 17)))
	m := models.New(&models.Processor{Config: c}, w)
	r, err := models.NewRunner(m)
	if err != nil {
		b.Fatal(err)
	}
	pattern := "ttt" + strings.Repeat("v", 200) + strings.Repeat("t", 20) + "aaa"
	batches, err := m.NewBatches(tinyEmbeddings(m, slices.Repeat([]string{pattern}, 8), 9))
	if err != nil {
		b.Fatal(err)
	}
	f, err := ParseFormat(format)
	if err != nil {
		b.Fatal(err)
	}
	cal := &Calibration{Model: m, Runner: r, Batches: batches, Method: mustFind(b, method), Format: f}
	return cal, cal.tokens(b)
}

// What a profile's functions do: matrix products and the packing for them, rounding
// weights (the factorization and its blocks in the solver are products).
var (
	productNames  = regexp.MustCompile(`kernels\.(sgemm|dgemm|Sgemm|Dgemm|pack|dpack|storeColumns|addColumns|clearColumns|gram|syrk|dot|\(\*d?gemmBuffer)`)
	roundingNames = regexp.MustCompile(`kernels\.([rR]ound|minMax|absMax|ScaleColumns|Quantize|Dequantize|even|FindGrid|adjust|fit)`)
)

// BenchmarkShare reports where one layer's calibration spends its processor time: in
// matrix products, and in rounding weights. The rest is attention, pointwise work and
// rounding activations. The scale search (mbq, tlq) should spend 70 % in products.
func BenchmarkShare(b *testing.B) {
	for _, run := range [][2]string{{"mbq", "w4a8"}, {"mbq", "w3a16g64"}, {"tlq", "w4a8"}, {"tlq", "w3a16g64"}, {"gptq", "w4a16g64"}} {
		b.Run(run[0]+"/"+run[1], func(b *testing.B) {
			c, set := wideCalibration(b, run[0], run[1])
			var profile bytes.Buffer
			profiled := pprof.StartCPUProfile(&profile) == nil // not while -cpuprofile takes one
			for b.Loop() {
				if _, _, err := c.CalibrateLayer(context.Background(), c.Start(), set); err != nil {
					b.Fatal(err)
				}
			}
			if profiled {
				pprof.StopCPUProfile()
				reportShares(b, profile.Bytes())
			}
		})
	}
}

// reportShares sums a profile's own times by what functions do.
func reportShares(b *testing.B, profile []byte) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "cpu.prof")
	if err := os.WriteFile(file, profile, 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=10000", "-nodefraction=0", "-unit=ms", file).Output()
	if err != nil {
		b.Logf("no shares without the go tool: %v", err)
		return
	}
	var total, products, rounding float64
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line) // flat flat% sum% cum cum% name
		if len(fields) < 6 {
			continue
		}
		flat, err := strconv.ParseFloat(strings.TrimSuffix(fields[0], "ms"), 64)
		if err != nil {
			continue
		}
		total += flat
		switch name := fields[5]; {
		case productNames.MatchString(name):
			products += flat
		case roundingNames.MatchString(name):
			rounding += flat
		}
	}
	if total > 0 {
		b.ReportMetric(100*products/total, "products-%")
		b.ReportMetric(100*rounding/total, "rounding-%")
	}
}
