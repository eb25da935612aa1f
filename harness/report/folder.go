package report

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/display"
)

// study is a diagnostic's report: a page with its figures, its tables for programs
// and its numbers.
type study struct {
	page   *page
	sheets []*sheet
	files  []file // beside the page
}

// add renders a figure into the page.
func (s *study) add(f *display.Figure, err error) error {
	if err != nil {
		return err
	}
	p, err := render(f)
	if err != nil {
		return err
	}
	s.page.add(p)
	s.files = append(s.files, file{filepath.Join(figuresDir, f.Name+".png"), p.png}, file{filepath.Join(figuresDir, f.Name+".svg"), p.svg})
	return nil
}

// addSheet puts a table into the page and its digits into a CSV file.
func (s *study) addSheet(x *sheet) {
	s.page.add(x.show)
	s.sheets = append(s.sheets, x)
}

// write writes the folder: report.html last, so that whoever sees it sees the rest.
func (s *study) write(dir, name string, numbers any) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("report: folder %s is not empty and holds no earlier %s: name a new or empty folder", dir, name)
		}
	}
	data, err := encodeNumbers(name, numbers)
	if err != nil {
		return err
	}
	files := append([]file{{name, data}}, s.files...)
	for _, x := range s.sheets {
		data, err := x.encode()
		if err != nil {
			return err
		}
		files = append(files, file{filepath.Join(tablesDir, x.name+".csv"), data})
	}
	files = append(files, file{"report.md", s.page.markdown()}, file{"report.html", s.page.html()})
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	return removeStale(dir, files)
}
