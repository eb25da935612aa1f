package report

import (
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
)

// Folders of the report's files, relative to the run's.
const (
	figuresDir = "figures"
	tablesDir  = "tables"
)

// markdown writes the page as GitHub-flavoured Markdown. Every text is escaped:
// names and messages come from outside.
func (p *page) markdown() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", escapeMarkdown(p.title))
	for _, x := range p.blocks {
		switch x := x.(type) {
		case heading:
			fmt.Fprintf(&b, "## %s\n\n", escapeMarkdown(x.text))
		case answer:
			fmt.Fprintf(&b, "**%s**\n\n", escapeMarkdown(x.sentences[0]))
			for _, sentence := range x.sentences[1:] {
				fmt.Fprintf(&b, "- %s\n", escapeMarkdown(sentence))
			}
			if len(x.sentences) > 1 {
				b.WriteByte('\n')
			}
		case prose:
			fmt.Fprintf(&b, "%s\n\n", escapeMarkdown(x.text))
		case bullets:
			for _, item := range x.items {
				fmt.Fprintf(&b, "- %s\n", escapeMarkdown(item))
			}
			b.WriteByte('\n')
		case links:
			for _, item := range x.items {
				fmt.Fprintf(&b, "- [%s](%s)%s\n", escapeMarkdown(item.text), item.address, escapeMarkdown(item.after))
			}
			b.WriteByte('\n')
		case commands:
			lines := make([]string, len(x.items))
			for i, item := range x.items {
				lines[i] = item.text
			}
			text := strings.Join(lines, "\n")
			fence := codeFence(text)
			fmt.Fprintf(&b, "%ssh\n%s\n%s\n\n", fence, text, fence)
		case code:
			fence := codeFence(x.text)
			fmt.Fprintf(&b, "%s%s\n%s\n%s\n\n", fence, x.language, x.text, fence)
		case foldStart:
			fmt.Fprintf(&b, "### %s\n\n", escapeMarkdown(x.title))
		case foldEnd:
		case *display.Table:
			fmt.Fprintf(&b, "%s\n", markdownTable(x))
		case *picture:
			fmt.Fprintf(&b, "![%s](%s/%s.png)\n\n%s\n\n", x.Name, figuresDir, x.Name, escapeMarkdown(x.Caption))
		default:
			panic(fmt.Sprintf("report: a block of type %T", x))
		}
	}
	return []byte(b.String())
}

// markdownTable is a table with its cells escaped.
func markdownTable(t *display.Table) string {
	out := &display.Table{Caption: escapeMarkdown(t.Caption), Columns: make([]string, len(t.Columns)), Links: map[[2]int]string{}}
	for at, to := range t.Links {
		if !strings.HasPrefix(to, "#") { // Markdown has no names for places inside
			out.Links[at] = to
		}
	}
	for i, c := range t.Columns {
		out.Columns[i] = escapeMarkdown(c)
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = escapeMarkdown(c)
		}
		out.Rows = append(out.Rows, cells)
	}
	return out.Markdown()
}

// markdownEscaper makes text literal where Markdown would read marks in it.
// Underscores inside words and single brackets are literal anyway.
var markdownEscaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "![", `!\[`, "](", `]\(`)

func escapeMarkdown(s string) string {
	return markdownEscaper.Replace(strings.Join(strings.Fields(s), " "))
}

// codeFence is a fence that the text doesn't hold.
func codeFence(s string) string {
	fence := "```"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	return fence
}
