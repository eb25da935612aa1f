// Package display shows what a notebook cell or a command has to show: figures,
// tables, text and progress.
//
// The same call works in three places. In a notebook cell the item becomes rich
// output (PNG, HTML, Markdown); in a terminal it is text, and figures are
// written to a folder; into a file it is Markdown with links to the figures. A
// cell is one or two lines:
//
//	table := display.Must(report.Summary(records))
//	display.Show(table)
//
// Every display in a notebook ends by waiting for the kernel's acknowledgement:
// a kernel drops whatever it has not read when a cell's program exits, which
// without the wait loses a few per cent of all pictures without an error.
//
// The package is a leaf. It knows no other package of this module and draws no
// plots itself, so that a cell that shows a table links quickly.
package display

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// FiguresEnv names the environment variable that holds the folder into which
// figures are written as PNG and SVG files, beside being shown. Unset or empty:
// no files are written.
const FiguresEnv = "TLQ_FIGURES"

// Format says how an [Output] renders items.
type Format string

const (
	// AsNotebook sends rich output to the notebook that runs this program.
	AsNotebook Format = "notebook"
	// AsText prints aligned text, for terminals and logs.
	AsText Format = "text"
	// AsMarkdown prints GitHub-flavoured Markdown, for files.
	AsMarkdown Format = "markdown"
)

// Output is a place where items are shown. Make one for a file or a report;
// cells and commands take the one of [Auto].
type Output struct {
	// Format says how items are rendered. Empty is AsText.
	Format Format
	// W receives text and Markdown. Nil is os.Stdout. Unused by AsNotebook.
	W io.Writer
	// Dir is the folder into which figures are written as NAME.png and
	// NAME.svg; it is made when missing. Empty: no files. AsMarkdown needs it
	// for figures.
	Dir string
	// Link is put before a figure's file name in Markdown, such as "figures/".
	Link string
}

// Item is something that can be shown: a [*Figure], a [*Table] or [Markdown].
type Item interface {
	show(o *Output) error
}

// Auto returns the output of the running program: the notebook when a notebook
// kernel runs it, else text on standard output. Figures also go to the folder
// named by TLQ_FIGURES, when it is set.
func Auto() *Output {
	o := &Output{Format: AsText, Dir: os.Getenv(FiguresEnv)}
	if gonbui.IsNotebook {
		o.Format = AsNotebook
	}
	return o
}

// Show shows the items in order and stops at the first that fails.
func (o *Output) Show(items ...Item) error {
	switch o.Format {
	case AsNotebook, AsText, AsMarkdown, "":
	default:
		return fmt.Errorf("display: unknown format %q; the formats are %s, %s, %s", o.Format, AsNotebook, AsText, AsMarkdown)
	}
	for _, item := range items {
		if err := item.show(o); err != nil {
			return err
		}
	}
	return nil
}

func (o *Output) writer() io.Writer {
	if o.W == nil {
		return os.Stdout
	}
	return o.W
}

// Show shows the items on [Auto]'s output. It is meant for notebook cells,
// which have nobody to return an error to: a failure ends the program as
// [Check] does. Programs that handle errors use [Output.Show].
func Show(items ...Item) {
	Check(Auto().Show(items...))
}

// Check ends the program with exit code 1 and the error on standard error,
// unless err is nil. It is meant for notebook cells: the kernel marks the cell
// as failed and shows the message.
func Check(err error) {
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Must returns v, or ends the cell as [Check] does when err is not nil.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// Markdown is text in Markdown, in a notebook with LaTeX between dollar signs.
// A terminal and a file get it as it is.
type Markdown string

func (m Markdown) show(o *Output) error {
	if o.Format == AsNotebook {
		return send(bundle{protocol.MIMETextMarkdown: string(m)}, "")
	}
	_, err := fmt.Fprintf(o.writer(), "%s\n\n", strings.TrimRight(string(m), "\n"))
	return err
}

// bundle maps MIME types to one piece of content in several forms.
type bundle = map[protocol.MIMEType]any

// ackTimeout bounds the wait for the kernel. A live kernel answers within
// milliseconds; a dead one would otherwise hold the cell's program forever.
const ackTimeout = 30 * time.Second

// send gives the bundle to the notebook and waits until it has been taken. A
// non-empty id names an element that later calls with the same id replace.
func send(data bundle, id string) error {
	return sendData(&protocol.DisplayData{Data: data, DisplayID: id})
}

// sendData is send for data with metadata.
func sendData(data *protocol.DisplayData) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		gonbui.SendData(data)
		gonbui.Sync()
	}()
	select {
	case <-done:
	case <-time.After(ackTimeout):
		if err := gonbui.Error(); err != nil {
			return fmt.Errorf("display: the notebook kernel cannot be reached: %w", err)
		}
		return errors.New("display: the notebook kernel did not acknowledge a display within 30 s; restart it")
	}
	if err := gonbui.Error(); err != nil {
		return fmt.Errorf("display: the notebook kernel cannot be reached: %w", err)
	}
	return nil
}
