package display

import (
	"strings"
)

// LaTeX renders the table as a table environment with booktabs' rules, for a
// paper: \usepackage{booktabs}, and UTF-8 input as LaTeX has by default. Wide
// tables may need \resizebox or smaller type. label names it for \ref.
func (t *Table) LaTeX(label string) string {
	var b strings.Builder
	columns := make([]byte, len(t.Columns))
	for i, right := range t.numeric() {
		columns[i] = 'l'
		if right {
			columns[i] = 'r'
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			if i > 0 {
				b.WriteString(" & ")
			}
			b.WriteString(guarded(escapeLaTeX(oneLine(cell)), i == 0))
		}
		b.WriteString(` \\` + "\n")
	}
	b.WriteString("\\begin{table}\n\\centering\n\\begin{tabular}{" + string(columns) + "}\n\\toprule\n")
	line(t.Columns)
	b.WriteString("\\midrule\n")
	for _, row := range t.Rows {
		line(row)
	}
	b.WriteString("\\bottomrule\n\\end{tabular}\n")
	if t.Caption != "" {
		b.WriteString(`\caption{` + escapeLaTeX(oneLine(t.Caption)) + "}\n")
	}
	b.WriteString(`\label{tab:` + label + "}\n\\end{table}\n")
	return b.String()
}

// latex replaces what LaTeX would read as a command, and the signs of our tables
// that its text fonts lack.
var latex = strings.NewReplacer(
	`\`, `\textbackslash{}`, `{`, `\{`, `}`, `\}`, `$`, `\$`, `&`, `\&`, `#`, `\#`, `%`, `\%`, `_`, `\_`,
	`~`, `\textasciitilde{}`, `^`, `\textasciicircum{}`, `<`, `\textless{}`, `>`, `\textgreater{}`, `|`, `\textbar{}`,
	"−", `$-$`, "×", `$\times$`, "±", `$\pm$`, "≈", `$\approx$`, "≤", `$\leq$`, "≥", `$\geq$`, "Δ", `$\Delta$`, "÷", `$\div$`, "α", `$\alpha$`,
	"–", "--", "—", "---", "…", `\ldots{}`, "‖", `$\|$`, "·", `$\cdot$`, "\u00a0", "~", "→", `$\to$`, "“", "``", "”", "''",
)

// guarded keeps a row's first cell from being read as an argument of the line break
// before it, as [4pt] would be.
func guarded(cell string, first bool) string {
	if first && (strings.HasPrefix(cell, "[") || strings.HasPrefix(cell, "*")) {
		return "{}" + cell
	}
	return cell
}

func escapeLaTeX(s string) string { return latex.Replace(s) }
