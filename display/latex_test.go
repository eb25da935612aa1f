package display

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestLaTeX(t *testing.T) {
	table := &Table{Columns: []string{"method", "ΔKL [95%]", "n"}, Caption: "KL & NLL, 100% of w4a8_g64."}
	table.Add("TLQ {a}", "−0.012 ± 0.003", 300)
	table.Add("[1, 2]", "[3,\u00a04]", 1)
	table.Add(`back\slash`, "≈ 0, p < 0.05", 1200)
	want := `\begin{table}
\centering
\begin{tabular}{llr}
\toprule
method & $\Delta$KL [95\%] & n \\
\midrule
TLQ \{a\} & $-$0.012 $\pm$ 0.003 & 300 \\
{}[1, 2] & [3, 4] & 1 \\
back\textbackslash{}slash & $\approx$ 0, p \textless{} 0.05 & 1200 \\
\bottomrule
\end{tabular}
\caption{KL \& NLL, 100\% of w4a8\_g64.}
\label{tab:summary}
\end{table}
`
	if got := table.LaTeX("summary"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestLaTeXCompiles runs LaTeX where it is installed.
func TestLaTeXCompiles(t *testing.T) {
	latex, err := exec.LookPath("pdflatex")
	if err != nil {
		t.Skip("no pdflatex")
	}
	table := &Table{Columns: []string{"a", "Δ"}, Caption: `\ { } $ & # % _ ~ ^ < > | − × ± ≈ ≤ ≥ Δ α – — … ‖ · ÷ → “ ”`}
	table.Add(`\ { } $ & # % _ ~ ^ < > |`, "−1.5 × 2 ± 1")
	table.Add("[4pt] is a cell", "2")
	document := "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table.LaTeX("x") + "\\end{document}\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "table.tex"), []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(latex, "-interaction=nonstopmode", "-halt-on-error", "table.tex")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
