package datasets

import (
	"os"
	"testing"
)

// TestSheets writes contact sheets to $TLQ_SHEETS for looking at them.
func TestSheets(t *testing.T) {
	dir := os.Getenv("TLQ_SHEETS")
	if dir == "" {
		t.Skip("TLQ_SHEETS is not set")
	}
	for _, task := range Tasks() {
		for _, split := range Splits() {
			var all []Example
			for e, err := range task.Examples(split, 1, 24) {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
			img, err := ContactSheet(all, 6)
			if err != nil {
				t.Fatal(err)
			}
			if err := WritePNG(dir+"/"+task.Name+"-"+string(split)+".png", img); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkPictures(b *testing.B) {
	for _, tasks := range [][]string{{"emoji"}, {"scene"}, {"emoji", "scene"}} {
		b.Run(tasks[len(tasks)-1]+string(rune('0'+len(tasks))), func(b *testing.B) {
			for i := range 4000 {
				if _, err := PictureAt(tasks, 1, i); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			for b.Loop() {
				if _, err := PictureAt(tasks, 1, i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
