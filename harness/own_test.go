package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/ptq"
)

const cell = `package main

import "fmt"

const (
	first = iota
	second
)

type kernel struct{ width float64 }

// at is a method.
func (k kernel) at(x float64) float64 { return x / k.width }

func half(x float64) float64 { return x / 2 }

func mine(x float64) float64 { k := kernel{second}; return half(k.at(x)) }

func unrelated() { fmt.Println("unrelated") }

func main() { fmt.Println(mine(1)) }
`

func reached(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := readDeclarations(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.reach("mine")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestReach edits everything that a function depends on, one after the other,
// and things that it doesn't.
func TestReach(t *testing.T) {
	whole := reached(t, cell)
	for _, edit := range [][2]string{
		{"half(k.at(x))", "half(k.at(x + 1))"}, // itself
		{"x / 2", "x / 3"},                     // a function
		{"x / k.width", "x * k.width"},         // a method
		{"width float64", "width float32"},     // a type
		{"first = iota", "first = iota + 1"},   // a constant below which another counts on
	} {
		if reached(t, strings.Replace(cell, edit[0], edit[1], 1)) == whole {
			t.Errorf("%q → %q changes nothing", edit[0], edit[1])
		}
	}
	for _, edit := range [][2]string{
		{`"unrelated"`, `"other"`},
		{"fmt.Println(mine(1))", "fmt.Println(mine(2))"},
		{"// at is a method.", "// at is still a method."},
	} {
		if reached(t, strings.Replace(cell, edit[0], edit[1], 1)) != whole {
			t.Errorf("%q → %q changes something", edit[0], edit[1])
		}
	}
}

func flatScore(v *ptq.TokenView) []float32 { return make([]float32, len(v.Modality)) }

func TestOwnImportance(t *testing.T) {
	a, err := OwnImportance("flat", ptq.Needs{}, flatScore)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := OwnImportance("other title", ptq.Needs{}, flatScore); again.Name != a.Name || !strings.HasPrefix(a.Name, "own:flatScore@") {
		t.Errorf("named %q, then %q", a.Name, again.Name)
	}
	if b, _ := OwnImportance("flat", ptq.Needs{Gradient: true}, flatScore); b.Name == a.Name {
		t.Error("other needs, same name")
	}
	if _, err := OwnImportance("", ptq.Needs{}, func(*ptq.TokenView) []float32 { return nil }); err == nil || !strings.Contains(err.Error(), "function literal") {
		t.Errorf("a literal: %v", err)
	}
}
