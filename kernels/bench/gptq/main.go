// Command gptq times [kernels.SolveColumns] on weights and a Hessian in files, for
// comparison with gptq_torch.py, which runs it.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/tlqlab/tlqlab/kernels"
)

func main() {
	n := flag.Int("n", 0, "rows and columns")
	weights := flag.String("weights", "", "file of n² little-endian float32, [out, in]")
	hessian := flag.String("hessian", "", "file of n² little-endian float32")
	codes := flag.String("codes", "", "file that receives n² little-endian int32")
	order := flag.Bool("order", false, "act-order and static groups")
	flag.Parse()
	if err := run(*n, *weights, *hessian, *codes, *order); err != nil {
		fmt.Fprintln(os.Stderr, "gptq:", err)
		os.Exit(1)
	}
}

func run(n int, weights, hessian, codes string, order bool) error {
	w, err := read(weights, n)
	if err != nil {
		return err
	}
	narrow, err := read(hessian, n)
	if err != nil {
		return err
	}
	h := make([]float64, len(narrow))
	for i, v := range narrow {
		h[i] = float64(v)
	}
	start := time.Now()
	s, err := kernels.SolveColumns(w, n, n, h, kernels.SolveOptions{
		Rule: kernels.GridRule{Kind: kernels.GridGPTQ, Bits: 4}, Group: 128, Block: 128, Damp: 0.01, ActOrder: order, StaticGroups: order,
	})
	seconds := time.Since(start).Seconds()
	if err != nil {
		return err
	}
	loss := 0.0
	for _, v := range s.RowLoss {
		loss += v
	}
	f, err := os.Create(codes)
	if err != nil {
		return err
	}
	if err := binary.Write(f, binary.LittleEndian, s.Codes); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": seconds, "loss": loss})
}

// read reads n² numbers.
func read(name string, n int) ([]float32, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if n < 1 || len(b) != 4*n*n {
		return nil, fmt.Errorf("%s: %d bytes, expected 4·n² = %d", name, len(b), 4*n*n)
	}
	x := make([]float32, n*n)
	_, err = binary.Decode(b, binary.LittleEndian, x)
	return x, err
}
