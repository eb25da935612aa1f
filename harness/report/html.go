package report

import (
	_ "embed"
	"fmt"
	"html"
	"strings"

	"github.com/tlqlab/tlqlab/display"
)

//go:embed page.css
var pageStyle string

// html writes the page as one file: figures as SVG inside it, the system's
// fonts, no script, nothing to fetch; links lead to files beside it. It is well-formed XML
// as well.
func (p *page) html() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>%[1]s</title>
<style>
%[2]s</style>
</head>
<body>
<main>
<h1>%[1]s</h1>
`, html.EscapeString(p.title), pageStyle)
	for _, x := range p.blocks {
		htmlBlock(&b, x)
	}
	b.WriteString("</main>\n</body>\n</html>\n")
	return []byte(b.String())
}

func htmlBlock(b *strings.Builder, x block) {
	e := html.EscapeString
	switch x := x.(type) {
	case heading:
		fmt.Fprintf(b, "<h2>%s</h2>\n", e(x.text))
	case answer:
		fmt.Fprintf(b, "<div class=\"answer\">\n<p><strong>%s</strong></p>\n", e(x.sentences[0]))
		if len(x.sentences) > 1 {
			htmlBlock(b, bullets{x.sentences[1:]})
		}
		b.WriteString("</div>\n")
	case prose:
		fmt.Fprintf(b, "<p>%s</p>\n", e(x.text))
	case bullets:
		b.WriteString("<ul>\n")
		for _, item := range x.items {
			fmt.Fprintf(b, "<li>%s</li>\n", e(item))
		}
		b.WriteString("</ul>\n")
	case links:
		b.WriteString("<ul>\n")
		for _, item := range x.items {
			fmt.Fprintf(b, "<li><a href=\"%s\">%s</a>%s</li>\n", e(item.address), e(item.text), e(item.after))
		}
		b.WriteString("</ul>\n")
	case commands:
		b.WriteString("<pre class=\"lines\">")
		for _, item := range x.items {
			fmt.Fprintf(b, "<code id=\"%s\">%s</code>\n", e(item.id), e(item.text))
		}
		b.WriteString("</pre>\n")
	case code:
		fmt.Fprintf(b, "<pre><code>%s</code></pre>\n", e(x.text))
	case foldStart:
		open := ""
		if x.open {
			open = ` open="open"`
		}
		fmt.Fprintf(b, "<details%s>\n<summary>%s</summary>\n", open, e(x.title))
	case foldEnd:
		b.WriteString("</details>\n")
	case *display.Table:
		fmt.Fprintf(b, "<div class=\"table\">\n%s</div>\n", x.HTML())
	case *picture:
		caption := e(plainText(x.Caption))
		fmt.Fprintf(b, "<figure id=\"%s\">\n%s<figcaption>%s</figcaption>\n</figure>\n", e(x.Name), inlineSVG(x.svg, caption), caption)
	default:
		panic(fmt.Sprintf("report: a block of type %T", x))
	}
}

// inlineSVG is an SVG file as an element of a page, a third smaller than as a data URL: the
// element alone, without the declarations of a file, and with words for who can't see it.
func inlineSVG(svg []byte, label string) string {
	_, element, found := strings.Cut(string(svg), "<svg ")
	if !found {
		return ""
	}
	return `<svg role="img" aria-label="` + label + `" ` + element
}
