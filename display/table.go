package display

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// Table is a table of text cells. A column whose cells are all numbers (or
// empty, or a dash) is aligned right. A notebook shows HTML, a terminal aligned
// text, a file Markdown.
type Table struct {
	// Caption is one sentence that says what is to be seen. May be empty.
	Caption string
	// Columns holds the headings.
	Columns []string
	// Rows holds the cells, each row as long as Columns.
	Rows [][]string
	// Links holds addresses by row and column: HTML and Markdown make links of those
	// cells. Addresses are URLs, percent-encoded where they need it. May be nil.
	Links map[[2]int]string
}

// Add appends a row. Floats are written with four significant digits, anything
// else as fmt.Sprint writes it.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case float64:
			row[i] = strconv.FormatFloat(v, 'g', 4, 64)
		case float32:
			row[i] = strconv.FormatFloat(float64(v), 'g', 4, 32)
		default:
			row[i] = fmt.Sprint(c)
		}
	}
	t.Rows = append(t.Rows, row)
}

// Validate reports a table without columns or with a row of another length.
func (t *Table) Validate() error {
	if len(t.Columns) == 0 {
		return fmt.Errorf("display: table %q has no columns", t.Caption)
	}
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return fmt.Errorf("display: table %q: row %d has %d cells, the table has %d columns", t.Caption, i+1, len(row), len(t.Columns))
		}
	}
	return nil
}

func (t *Table) show(o *Output) error {
	if err := t.Validate(); err != nil {
		return err
	}
	switch o.Format {
	case AsNotebook:
		return send(bundle{protocol.MIMETextHTML: t.HTML(), protocol.MIMETextPlain: t.Text()}, "")
	case AsMarkdown:
		_, err := fmt.Fprintln(o.writer(), t.Markdown())
		return err
	}
	_, err := fmt.Fprintln(o.writer(), t.Text())
	return err
}

// numeric tells for each column whether it is to be aligned right: it holds a
// number and nothing else but numbers, dashes and empty cells.
func (t *Table) numeric() []bool {
	num := make([]bool, len(t.Columns))
	for c := range t.Columns {
		numbers, others := 0, 0
		for _, row := range t.Rows {
			cell := strings.TrimSpace(row[c])
			switch {
			case cell == "", cell == "-", cell == "–":
			case strings.Contains("+-.0123456789", cell[:1]), strings.HasPrefix(cell, "−"):
				numbers++
			default:
				others++
			}
		}
		num[c] = numbers > 0 && others == 0
	}
	return num
}

// oneLine joins a cell's lines: text and Markdown tables have one line per row.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Text renders the table as aligned text, the caption below.
func (t *Table) Text() string {
	width := make([]int, len(t.Columns))
	for c, name := range t.Columns {
		width[c] = utf8.RuneCountInString(oneLine(name))
		for _, row := range t.Rows {
			width[c] = max(width[c], utf8.RuneCountInString(oneLine(row[c])))
		}
	}
	num := t.numeric()
	var b strings.Builder
	line := func(cells []string) {
		var l strings.Builder
		for c, cell := range cells {
			if c > 0 {
				l.WriteString("  ")
			}
			cell = oneLine(cell)
			pad := strings.Repeat(" ", width[c]-utf8.RuneCountInString(cell))
			if num[c] {
				l.WriteString(pad + cell)
			} else {
				l.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(t.Columns)
	rules := make([]string, len(width))
	for c, w := range width {
		rules[c] = strings.Repeat("-", w)
	}
	line(rules)
	for _, row := range t.Rows {
		line(row)
	}
	if t.Caption != "" {
		b.WriteString(t.Caption + "\n")
	}
	return b.String()
}

// Markdown renders the table as GitHub-flavoured Markdown, the caption below.
func (t *Table) Markdown() string {
	var b strings.Builder
	line := func(row int, cells []string) {
		for c, cell := range cells {
			cell = strings.ReplaceAll(oneLine(cell), "|", `\|`)
			if to, ok := t.Links[[2]int{row, c}]; ok {
				cell = "[" + cell + "](" + to + ")"
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	line(-1, t.Columns)
	for _, right := range t.numeric() {
		if right {
			b.WriteString("| ---: ")
		} else {
			b.WriteString("| --- ")
		}
	}
	b.WriteString("|\n")
	for i, row := range t.Rows {
		line(i, row)
	}
	if t.Caption != "" {
		b.WriteString("\n" + t.Caption + "\n")
	}
	return b.String()
}

// HTML renders the table as an HTML element, the caption inside it.
func (t *Table) HTML() string {
	num := t.numeric()
	var b strings.Builder
	line := func(tag string, row int, cells []string) {
		b.WriteString("<tr>")
		for c, cell := range cells {
			style := "left"
			if num[c] {
				style = "right"
			}
			cell = html.EscapeString(cell)
			if to, ok := t.Links[[2]int{row, c}]; ok {
				cell = `<a href="` + html.EscapeString(to) + `">` + cell + "</a>"
			}
			fmt.Fprintf(&b, `<%s style="text-align:%s">%s</%s>`, tag, style, cell, tag)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<table>\n")
	if t.Caption != "" {
		fmt.Fprintf(&b, `<caption style="caption-side:bottom">%s</caption>`+"\n", html.EscapeString(t.Caption))
	}
	b.WriteString("<thead>")
	line("th", -1, t.Columns)
	b.WriteString("</thead>\n<tbody>\n")
	for i, row := range t.Rows {
		line("td", i, row)
	}
	b.WriteString("</tbody>\n</table>\n")
	return b.String()
}
